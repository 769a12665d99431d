"""The HTTP gateway beside a stack, as a child process of the launcher."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from typing import IO
from urllib.parse import urlsplit

from ray_stages.launcher import tls
from ray_stages.launcher.child_process import start_child, stop_child
from ray_stages.settings import ROOT, Settings

ANSWER_SECONDS = 5.0  # beyond its own draining


@dataclass
class GatewayProcess:
    """It needs no Triton to start, and says so to who asks while there is none."""

    settings: Settings
    grpc: str
    log: IO[bytes]
    address: str = ""
    process: subprocess.Popen[str] | None = None

    def start(self) -> bool:
        """Whether it listens, as soon as that is known; the second time at the same port."""
        port = urlsplit(self.address).port or self.settings.gateway_port
        self.process = start_child(
            [sys.executable, "-m", "gateway"],
            cwd=ROOT,
            env={
                **os.environ,
                "TRITON_GRPC": self.grpc,
                "TRITON_TLS_CA": tls.trusted(self.settings),
                "MODEL": self.settings.model,
                "GATEWAY_PORT": str(port),
            },
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )
        assert self.process.stdout
        line = self.process.stdout.readline()
        self.address = line.rpartition(" ")[2].strip() or self.address
        return bool(line)

    def ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def stop(self) -> None:
        """It takes no more requests, and answers those it has."""
        if self.process is not None:
            stop_child(self.process, 2 * self.settings.drain_seconds + ANSWER_SECONDS)

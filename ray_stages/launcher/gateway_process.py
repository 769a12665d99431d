"""The HTTP gateway of a stack, as a child process of the launcher."""

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

STOP_SECONDS = 5.0  # in addition to the time that the gateway drains


@dataclass
class GatewayProcess:
    """The gateway starts without Triton, and refuses requests until Triton is ready.

    grpc: the host:port of Triton. address: the gateway's URL, known once it listens.
    """

    settings: Settings
    grpc: str
    log: IO[bytes]
    address: str = ""
    process: subprocess.Popen[str] | None = None

    def start(self) -> bool:
        """Returns whether the gateway listens; a restarted gateway takes the same port again."""
        port = urlsplit(self.address).port or self.settings.gateway_port
        self.process = start_child(
            [sys.executable, "-m", "gateway"],
            cwd=ROOT,
            env={
                **os.environ,
                "TRITON_GRPC": self.grpc,
                "TRITON_TLS_CA": tls.ca_file(self.settings),
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

    def has_ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def stop(self) -> None:
        """Stops the gateway after it has answered the requests that it accepted."""
        if self.process is not None:
            stop_child(self.process, 2 * self.settings.drain_seconds + STOP_SECONDS)

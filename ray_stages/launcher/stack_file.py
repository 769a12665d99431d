"""A JSON file for each running stack, by which a command finds the stack of `make serve`."""

from __future__ import annotations

import json
import os
import urllib.request
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from ray_stages.launcher import tls
from ray_stages.launcher.ports import Ports
from ray_stages.settings import Settings


@dataclass(frozen=True)
class RunningStack:
    """A stack's process id and addresses (host:port).

    served_model: a command uses this stack only if its settings give the same list.
    """

    pid: int
    http: str
    grpc: str
    metrics: str
    served_model: list[str]
    gateway: str = ""  # a URL; empty if the stack has no gateway
    tls_ca: str = ""  # a CA file; empty if gRPC has no TLS

    @classmethod
    def of(cls, settings: Settings, ports: Ports, gateway: str = "") -> RunningStack:
        return cls(
            pid=os.getpid(),
            http=f"{settings.host}:{ports.http}",
            grpc=f"{settings.host}:{ports.grpc}",
            metrics=f"{settings.host}:{ports.metrics}",
            served_model=_served_model(settings),
            gateway=gateway,
            tls_ca=tls.ca_file(settings),
        )

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(
                f"http://{self.http}/v2/health/ready", timeout=2
            ) as response:
                return bool(response.status == 200)
        except OSError:
            return False


class StackFile:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / f"{os.getpid()}.json"

    def write(self, stack: RunningStack) -> None:
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text(json.dumps(asdict(stack)))
        temporary.replace(self.path)

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)

    def find(self, settings: Settings) -> RunningStack | None:
        """Returns the first ready stack that serves the same model in the same way."""
        for path in sorted(self.folder.glob("*.json")):
            stack = RunningStack(**json.loads(path.read_text()))
            if not psutil.pid_exists(stack.pid):
                path.unlink(missing_ok=True)  # its launcher was killed
            elif stack.served_model == _served_model(settings) and stack.is_ready():
                return stack
        return None


def _served_model(settings: Settings) -> list[str]:
    return [settings.model, settings.model_variant, settings.device, settings.precision]

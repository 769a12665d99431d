"""How a command finds the stack that `make serve` runs: a small file a stack."""

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
    """Addresses are host:port; `serves` must be equal where a command is to use this stack."""

    pid: int
    http: str
    grpc: str
    metrics: str
    serves: list[str]
    gateway: str = ""  # an address with http:// or https://, where there is one
    tls_ca: str = ""  # a file, where gRPC speaks TLS

    @classmethod
    def of(cls, settings: Settings, ports: Ports, gateway: str = "") -> RunningStack:
        return cls(
            pid=os.getpid(),
            http=f"{settings.host}:{ports.http}",
            grpc=f"{settings.host}:{ports.grpc}",
            metrics=f"{settings.host}:{ports.metrics}",
            serves=_serves(settings),
            gateway=gateway,
            tls_ca=tls.trusted(settings),
        )

    def answers(self) -> bool:
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
        """The first stack that is alive and serves the same model in the same way."""
        for path in sorted(self.folder.glob("*.json")):
            stack = RunningStack(**json.loads(path.read_text()))
            if not psutil.pid_exists(stack.pid):
                path.unlink(missing_ok=True)  # left by a launcher that was killed
            elif stack.serves == _serves(settings) and stack.answers():
                return stack
        return None


def _serves(settings: Settings) -> list[str]:
    return [settings.model, settings.model_variant, settings.device, settings.precision]

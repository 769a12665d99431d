"""How a command finds the stack that `make serve` runs: a small file a stack."""

from __future__ import annotations

import json
import os
import urllib.request
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from ray_stages.ports import Ports
from ray_stages.settings import Settings


@dataclass(frozen=True)
class RunningStack:
    """Addresses are host:port; `serves` is what a stack must share with a request to be used for it."""

    pid: int
    http: str
    grpc: str
    serves: list[str]

    @classmethod
    def of(cls, settings: Settings, ports: Ports) -> RunningStack:
        host = "127.0.0.1" if settings.bind == "0.0.0.0" else settings.bind
        return cls(os.getpid(), f"{host}:{ports.http}", f"{host}:{ports.grpc}", _serves(settings))

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self.http}/v2/health/ready", timeout=2) as response:
                return psutil.pid_exists(self.pid) and response.status == 200
        except OSError:
            return False


class StackFile:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / f"{os.getpid()}.json"

    def write(self, settings: Settings, ports: Ports) -> None:
        self.path.write_text(json.dumps(asdict(RunningStack.of(settings, ports))))

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)

    def find(self, settings: Settings) -> RunningStack | None:
        """The first stack that is alive and serves the same model in the same way."""
        for path in sorted(self.folder.glob("*.json")):
            stack = RunningStack(**json.loads(path.read_text()))
            if stack.serves == _serves(settings) and stack.answers():
                return stack
        return None


def _serves(settings: Settings) -> list[str]:
    return [settings.model, settings.model_variant, settings.device, settings.dtype]

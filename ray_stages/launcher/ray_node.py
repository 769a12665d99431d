"""A node of a Ray cluster that spans machines or containers, as a child process."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ray_stages.launcher.child_process import start_child, stop_child

GCS_PORT = 6379
STORE_BYTES = 256 * 1024**2  # of objects; what stages hand each other is small
STARTED = "Ray runtime started"  # said when the head knows this node: a driver may join then
STOP_SECONDS = 10.0
CONNECT_SECONDS = 2.0
RETRY_SECONDS = 0.5


@dataclass
class RayNode:
    """address: host:port of the head, which is this node itself where `head` is true.

    words: a file for what `ray start` says, pages of advice that nobody in a container can follow.
    """

    address: str
    cpus: int
    words: Path
    head: bool = False
    process: subprocess.Popen[bytes] | None = None

    @classmethod
    def of_head(cls, words: Path) -> RayNode:
        """Only Serve's controller runs on it: a stage that fills its memory ends no cluster."""
        return cls(f"{_own_address()}:{GCS_PORT}", cpus=0, words=words, head=True)

    def start(self) -> None:
        command = [
            *(sys.executable, "-m", "ray.scripts.scripts", "start", "--block"),
            *(self._as_head() if self.head else self._joining()),
            f"--num-cpus={self.cpus}",
            f"--object-store-memory={STORE_BYTES}",
            "--disable-usage-stats",
        ]
        with self.words.open("wb") as file:
            self.process = start_child(command, stdout=file, stderr=file)

    def _as_head(self) -> list[str]:
        host = self.address.rpartition(":")[0]
        ports = [f"--port={GCS_PORT}", "--include-dashboard=false"]
        return ["--head", f"--node-ip-address={host}", *ports]

    def _joining(self) -> list[str]:
        return [f"--address={self.address}", f"--node-ip-address={_own_address(self.address)}"]

    def wait_for_head(self, seconds: float, stopped: Callable[[], bool]) -> None:
        """TimeoutError names the head that does not answer."""
        end = time.monotonic() + seconds
        while not stopped() and not answers(self.address):
            if time.monotonic() > end:
                raise TimeoutError(
                    f"RAY_ADDRESS={self.address} does not answer within START_SECONDS={seconds}"
                )
            time.sleep(RETRY_SECONDS)

    def started(self) -> bool:
        return STARTED in self._said()

    def fault(self) -> str | None:
        if self.process is not None and self.process.poll() is None:
            return None
        last = ["", *self._said().split("\n")][-1]
        return f"this node's Ray has ended: {last}"

    def stop(self) -> None:
        if self.process is not None:
            stop_child(self.process, STOP_SECONDS)

    def _said(self) -> str:
        return self.words.read_text(errors="replace").strip() if self.words.exists() else ""


def answers(address: str) -> bool:
    """Whether something listens there."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), CONNECT_SECONDS):
            return True
    except OSError:
        return False


def _own_address(peer: str = "") -> str:
    """The one of our addresses that `peer` sees: a container may stand in several networks."""
    host, _, port = peer.rpartition(":")
    if not host:
        return socket.gethostbyname(socket.gethostname())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, int(port)))  # sends nothing
        return str(probe.getsockname()[0])


def make_token() -> None:
    """The cluster's key, where nobody gave one: the other nodes read it from the same file."""
    path = os.environ.get("RAY_AUTH_TOKEN_PATH")
    if path and not os.environ.get("RAY_AUTH_TOKEN") and not Path(path).exists():
        temporary = Path(f"{path}.{os.getpid()}")
        temporary.touch(mode=0o600)
        temporary.write_text(secrets.token_hex(32))
        temporary.replace(path)

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
OBJECT_STORE_BYTES = 256 * 1024**2  # the tensors between stages are small
STARTED_LINE = "Ray runtime started"  # printed once the head knows this node: a driver may join
STOP_SECONDS = 10.0
CONNECT_SECONDS = 2.0
RETRY_SECONDS = 0.5


@dataclass
class RayNode:
    """A process of `ray start`.

    address: host:port of the cluster's head, which is this node itself if `is_head` is true.
    log_file: where `ray start` writes its output, pages of advice that do not apply in a container.
    """

    address: str
    cpus: int
    log_file: Path
    is_head: bool = False
    process: subprocess.Popen[bytes] | None = None

    @classmethod
    def create_head(cls, log_file: Path) -> RayNode:
        """Creates the head, with no CPUs for stages: one that fills its memory would end all."""
        return cls(f"{_local_address()}:{GCS_PORT}", cpus=0, log_file=log_file, is_head=True)

    def start(self) -> None:
        command = [
            *(sys.executable, "-m", "ray.scripts.scripts", "start", "--block"),
            *(self._head_options() if self.is_head else self._worker_options()),
            f"--num-cpus={self.cpus}",
            f"--object-store-memory={OBJECT_STORE_BYTES}",
            "--disable-usage-stats",
        ]
        with self.log_file.open("wb") as file:
            self.process = start_child(command, stdout=file, stderr=file)

    def _head_options(self) -> list[str]:
        host = self.address.rpartition(":")[0]
        ports = [f"--port={GCS_PORT}", "--include-dashboard=false"]
        return ["--head", f"--node-ip-address={host}", *ports]

    def _worker_options(self) -> list[str]:
        return [f"--address={self.address}", f"--node-ip-address={_local_address(self.address)}"]

    def wait_for_head(self, seconds: float, stopped: Callable[[], bool]) -> None:
        """Raises TimeoutError if the head does not answer within `seconds`."""
        end = time.monotonic() + seconds
        while not stopped() and not accepts_connections(self.address):
            if time.monotonic() > end:
                raise TimeoutError(
                    f"RAY_ADDRESS={self.address} does not answer within START_SECONDS={seconds}"
                )
            time.sleep(RETRY_SECONDS)

    def has_started(self) -> bool:
        return STARTED_LINE in self._output()

    def fault(self) -> str | None:
        """Returns why this node has ended, or None while it runs."""
        if self.process is not None and self.process.poll() is None:
            return None
        last = ["", *self._output().split("\n")][-1]
        return f"this node's Ray has ended: {last}"

    def stop(self) -> None:
        if self.process is not None:
            stop_child(self.process, STOP_SECONDS)

    def _output(self) -> str:
        file = self.log_file
        return file.read_text(errors="replace").strip() if file.exists() else ""


def accepts_connections(address: str) -> bool:
    """Returns whether something listens at `address` (host:port)."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), CONNECT_SECONDS):
            return True
    except OSError:
        return False


def _local_address(peer: str = "") -> str:
    """Returns the local IP address that `peer` sees: a container may be in several networks."""
    host, _, port = peer.rpartition(":")
    if not host:
        return socket.gethostbyname(socket.gethostname())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, int(port)))  # UDP: this sends nothing
        return str(probe.getsockname()[0])


def create_auth_token() -> None:
    """Writes a new token to RAY_AUTH_TOKEN_PATH unless one is given or the file exists.

    The other nodes read the same file.
    """
    path = os.environ.get("RAY_AUTH_TOKEN_PATH")
    if path and not os.environ.get("RAY_AUTH_TOKEN") and not Path(path).exists():
        temporary = Path(f"{path}.{os.getpid()}")
        temporary.touch(mode=0o600)
        temporary.write_text(secrets.token_hex(32))
        temporary.replace(path)

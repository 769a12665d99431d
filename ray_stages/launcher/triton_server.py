"""Finds a tritonserver, in NVIDIA's container or in the wheel, and runs it as a child process."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import secrets
import subprocess
import sys
import sysconfig
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import psutil

from ray_stages.launcher import tls
from ray_stages.launcher.child_process import start_child, stop_child
from ray_stages.launcher.ports import Ports
from ray_stages.settings import ROOT, Settings

# Short: the server has been drained already, or has a dead stub and cannot drain.
EXIT_SECONDS = 5
IN_FLIGHT_METRIC = "latent_relay_in_flight{"
# Between two stages a request is in flight in neither for a moment, so one check is not enough.
IDLE_CHECKS = 3
STUB = "triton_python_backend_stub"
MODEL_REPOSITORY = ROOT / "model_repository"


@dataclass(frozen=True)
class Distribution:
    """Paths of a tritonserver: its binary, its backends, and the folders for LD_LIBRARY_PATH."""

    binary: Path
    backends: Path
    libraries: list[Path]


def find_distribution(cache_dir: Path) -> Distribution:
    """Prefers the server of NVIDIA's container: it is newer and supports GPUs.

    Raises FileNotFoundError if there is neither that nor the wheel `nvidia-pytriton`.
    """
    container = Path("/opt/tritonserver")
    if (container / "bin" / "tritonserver").exists():
        return Distribution(
            container / "bin" / "tritonserver", container / "backends", [container / "lib"]
        )
    spec = importlib.util.find_spec("pytriton")
    if spec is None or spec.origin is None:
        raise FileNotFoundError(
            "no tritonserver: neither /opt/tritonserver nor the wheel nvidia-pytriton"
        )
    package = Path(spec.origin).parent
    return Distribution(
        binary=package / "tritonserver" / "bin" / "tritonserver",
        backends=_backends_of_wheel(package / "tritonserver", cache_dir),
        # The stub must load the libpython of the interpreter that Ray runs on, or Ray refuses it.
        libraries=[_libpython_folder(), package.parent / "nvidia_pytriton.libs"],
    )


def _libpython_folder() -> Path:
    """Returns LIBDIR, or on Debian the folder below it where libpython is."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    folder = Path(sysconfig.get_config_var("LIBDIR"))
    deeper = folder / str(sysconfig.get_config_var("MULTIARCH"))
    return deeper if (deeper / f"libpython{version}.so.1.0").exists() else folder


def _backends_of_wheel(package: Path, cache_dir: Path) -> Path:
    """Links backend, helper module and this Python's stub into one folder, as Triton expects."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    backends = cache_dir / f"triton-backends-{version}"
    folder = backends / "python"
    folder.mkdir(parents=True, exist_ok=True)
    for source in (
        package / "backends" / "python" / "libtriton_python.so",
        package / "backends" / "python" / "triton_python_backend_utils.py",
        package / "python_backend_stubs" / version / STUB,
    ):
        _symlink(source, folder / source.name)
    return backends


def _symlink(source: Path, target: Path) -> None:
    if target.is_symlink() and target.readlink() == source:
        return
    temporary = target.with_name(f"{target.name}.{os.getpid()}")
    temporary.symlink_to(source)
    temporary.replace(target)


@dataclass
class TritonServer:
    """A tritonserver and its Python-backend processes, the stubs.

    drain_file: while this file exists, the bridges refuse new requests.
    """

    settings: Settings
    ports: Ports
    drain_file: Path
    log: IO[bytes]
    process: subprocess.Popen[bytes] | None = None
    # Distinguishes this server and its shared memory from others on the machine.
    name: str = field(default_factory=lambda: f"latent_relay_{secrets.token_hex(4)}")

    @property
    def expected_stubs(self) -> int:
        return len(list(MODEL_REPOSITORY.glob("*/1/model.py")))

    def start(self, environment: dict[str, str]) -> None:
        distribution = find_distribution(self.settings.cache_dir)
        libraries = [str(path) for path in distribution.libraries]
        inherited = environment.get("LD_LIBRARY_PATH")
        environment = {
            **environment,
            "DRAIN_FILE": str(self.drain_file),
            # Nobody reads Ray's own metrics from a stub, and they grow by some 50 MB an hour.
            "RAY_enable_metrics_collection": "false",
            "LD_LIBRARY_PATH": os.pathsep.join([*libraries, *([inherited] if inherited else [])]),
            # The stub's interpreter finds its packages by the first `python` on PATH.
            "PATH": os.pathsep.join(
                [str(Path(sys.executable).parent), environment.get("PATH", "")]
            ),
        }
        self.drain_file.unlink(missing_ok=True)
        command = [str(distribution.binary), *self._options(distribution)]
        self.process = start_child(
            command, env=environment, stdout=self.log, stderr=self.log, umask=0o077
        )

    def _options(self, distribution: Distribution) -> list[str]:
        settings, ports = self.settings, self.ports
        # A secret key closes these APIs: no client may share memory or change models.
        restricted = f"shared-memory,model-repository,trace,logging:closed={secrets.token_hex(16)}"
        return [
            f"--id={self.name}",
            f"--model-repository={MODEL_REPOSITORY}",
            f"--backend-directory={distribution.backends}",
            "--disable-auto-complete-config",
            f"--http-address={settings.bind}",
            f"--grpc-address={settings.bind}",
            f"--metrics-address={settings.bind}",
            f"--http-port={ports.http}",
            f"--grpc-port={ports.grpc}",
            f"--metrics-port={ports.metrics}",
            "--reuse-http-port=false",
            "--allow-gpu-metrics=false",
            f"--http-restricted-api={restricted}",
            f"--grpc-restricted-protocol={restricted}",
            *tls.server_options(settings),
            # Running calls end on the old connection. For the new one clients resolve the host
            # name again, and find servers that were added since.
            f"--grpc-max-connection-age={1000 * settings.grpc_connection_seconds}",
            f"--exit-timeout-secs={EXIT_SECONDS}",
            f"--backend-config=python,shm-region-prefix-name={self.name}",
            f"--backend-config=python,stub-timeout-seconds={settings.start_seconds}",
        ]

    def stubs(self) -> list[psutil.Process]:
        """Returns this server's running stubs, even if the server itself has ended."""
        return [process for process in psutil.process_iter() if self._is_own_stub(process)]

    def _is_own_stub(self, process: psutil.Process) -> bool:
        try:
            is_stub = process.name().startswith(STUB[:15])  # the kernel cuts names there
            return is_stub and any(self.name in word for word in process.cmdline())
        except psutil.Error:
            return False

    def server_fault(self) -> str | None:
        """Returns a message if the server itself has ended; the stubs are not checked."""
        has_ended = self.process is None or self.process.poll() is not None
        return "tritonserver has ended" if has_ended else None

    def fault(self) -> str | None:
        """Returns what has ended, the server or stubs, or None.

        Triton never restarts a dead stub, and its health endpoint still answers 200.
        """
        if fault := self.server_fault():
            return fault
        missing = self.expected_stubs - len(self.stubs())
        return (
            f"{missing} of {self.expected_stubs} Triton stubs have ended" if missing > 0 else None
        )

    def is_ready(self) -> bool:
        """Returns whether this server, and not another one on its port, is ready."""
        base = f"http://{self.settings.host}:{self.ports.http}/v2"
        try:
            with urllib.request.urlopen(f"{base}/health/ready", timeout=2) as answer:
                healthy = answer.status == 200
            with urllib.request.urlopen(base, timeout=2) as answer:
                return healthy and bool(json.loads(answer.read())["name"] == self.name)
        except (OSError, ValueError):
            return False

    def close_shared_memory(self) -> None:
        """Lets no other user of the machine read the prompts and pictures in shared memory.

        Triton's library gives its segments their mode itself, whatever the umask says. It makes
        them while it starts, so this is called when it is ready, and before the first request.
        """
        for segment in self._segments():
            segment.chmod(0o600)

    def _segments(self) -> list[Path]:
        return list(Path("/dev/shm").glob(f"{self.name}*"))

    def drain(self) -> None:
        """Refuses new requests; returns when none is in flight, or after DRAIN_SECONDS.

        SIGTERM alone would not drain: Triton stops all models at once, so that a request in its
        first stage is refused by the next stage.
        """
        self.drain_file.touch()
        end = time.monotonic() + self.settings.drain_seconds
        idle = 0
        while idle < IDLE_CHECKS and time.monotonic() < end:
            idle = 0 if self._in_flight() else idle + 1
            time.sleep(0.1)

    def stop(self, grace: float) -> None:
        """Ends server and stubs, by SIGKILL after `grace` seconds, and frees shared memory."""
        if self.process is None:
            return
        stubs = self.stubs()
        stop_child(self.process, grace)
        for stub in psutil.wait_procs(stubs, timeout=2)[1]:
            with contextlib.suppress(psutil.NoSuchProcess):  # it has ended by itself
                stub.kill()
        for segment in self._segments():
            segment.unlink(missing_ok=True)
        self.process = None

    def _in_flight(self) -> float:
        """Returns the requests in flight in all stages; 0 if the server does not answer."""
        url = f"http://{self.settings.host}:{self.ports.metrics}/metrics"
        try:
            with urllib.request.urlopen(url, timeout=5) as response:
                lines = response.read().decode().splitlines()
        except OSError:
            return 0
        return sum(float(line.split()[-1]) for line in lines if line.startswith(IN_FLIGHT_METRIC))

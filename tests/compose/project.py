"""The service in containers, as a Compose project."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.support.paths import ROOT
from tests.support.stacks import STAR, TritonService
from tests.support.waiting import wait_until

PROJECT = "latent-relay-test"
FILES = ("docker-compose.yml", "deploy/compose.triton.yml")
PORTS = ("GATEWAY_PORT", "HTTP_PORT", "GRPC_PORT", "METRICS_PORT")
START_SECONDS = 600
READ_METRICS = """
import urllib.request
print(urllib.request.urlopen("http://127.0.0.1:8002/metrics").read().decode())
"""


def report(text: str) -> None:
    """Prints progress: `make compose-test` takes minutes."""
    print(f"compose-test: {text}", flush=True)


@dataclass
class ComposeProject(TritonService):
    """A Compose project with a name and ports of its own."""

    environment: dict[str, str] = field(default_factory=dict)
    files: tuple[str, ...] = FILES

    def __post_init__(self) -> None:
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in PORTS]
        for name, sock in zip(PORTS, sockets, strict=True):
            self.environment[name] = str(sock.getsockname()[1])
            sock.close()

    def compose(self, *words: str, seconds: float = START_SECONDS) -> str:
        files = [word for file in self.files for word in ("-f", file)]
        done = subprocess.run(
            [*_compose_command(), "-p", PROJECT, *files, *words],
            cwd=ROOT,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=seconds,
        )
        assert done.returncode == 0, f"compose {' '.join(words)}\n{done.stdout}{done.stderr}"
        return done.stdout

    def up(self, workers: int = 1, tritons: int = 1) -> None:
        """Starts the containers; returns when the gateway draws."""
        begin = time.monotonic()
        scale = ("--scale", f"ray-worker={workers}", "--scale", f"triton={tritons}")
        self.compose("up", "-d", *scale)
        assert wait_until(self.is_ready, START_SECONDS), self.compose("logs", "--tail=80")
        report(f"up with {workers} worker(s), a picture goes through after {_elapsed(begin)}")
        for service in ("ray-head", "ray-worker", "triton"):
            for container in self.containers(service):
                if restarts := self.inspect(container)["RestartCount"]:
                    report(f"{service} started {restarts + 1} times: {_failure_reasons(container)}")

    def down(self) -> None:
        self.compose("down", "--volumes", "--remove-orphans")
        assert not docker("ps", "-aq", "--filter", f"label=com.docker.compose.project={PROJECT}")

    def is_ready(self) -> bool:
        try:
            urllib.request.urlopen(f"{self.gateway}/readyz", timeout=20).close()
        except OSError:
            return False
        return True

    @property
    def gateway(self) -> str:
        return f"http://127.0.0.1:{self.environment['GATEWAY_PORT']}"

    @property
    def grpc(self) -> str:
        return f"127.0.0.1:{self.environment['GRPC_PORT']}"

    def imagine(self, seed: int, prompt: str = STAR) -> bytes:
        """Draws a picture through the gateway; raises HTTPError if that refuses."""
        query = urllib.parse.urlencode({"prompt": prompt, "seed": seed})
        with urllib.request.urlopen(f"{self.gateway}/imagine?{query}", timeout=300) as answer:
            return bytes(answer.read())

    def containers(self, service: str) -> list[str]:
        return self.compose("ps", "-q", service).split()

    def inspect(self, container: str) -> dict[str, Any]:
        """Returns the output of `docker inspect`."""
        (inspected,) = json.loads(docker("inspect", container))
        return dict(inspected)

    def health(self, container: str) -> str:
        return str(self.inspect(container)["State"].get("Health", {}).get("Status"))

    def replicas(self, container: str) -> list[str]:
        """Returns the stages that run in a worker."""
        return sorted(stage for stage, _ in self.replica_ids(container))

    def replica_ids(self, container: str) -> set[tuple[str, int]]:
        """Returns stage and process id of each replica in a worker."""
        lines = docker("top", container, "-eo", "pid,args").splitlines()
        named = [line.split("ServeReplica:") for line in lines if "ServeReplica:" in line]
        return {(name.split("-")[0], int(pid.split()[0])) for pid, name in named}

    def pictures_of(self, triton: str) -> int:
        """Returns how many requests this Triton has answered since its start."""
        metrics = docker("exec", triton, "python", "-c", READ_METRICS)
        name = 'nv_inference_request_success{model="stable_diffusion",'
        counts = [line.split()[-1] for line in metrics.splitlines() if line.startswith(name)]
        return int(float(counts[0]))

    def worker_with(self, stage: str) -> str:
        return next(one for one in self.containers("ray-worker") if stage in self.replicas(one))

    def wait_healthy(self, container: str) -> None:
        assert wait_until(lambda: self.health(container) == "healthy", 300, pause=1)


@contextmanager
def running_project(**environment: str) -> Iterator[ComposeProject]:
    """Builds and starts the containers; removes them at the end."""
    project = ComposeProject(environment)
    begin = time.monotonic()
    project.compose("build", seconds=1800)
    size = int(docker("image", "inspect", "-f", "{{.Size}}", "latent-relay:0.1.0"))
    report(f"built in {_elapsed(begin)}, the image has {size / 1e6:,.0f} MB")
    try:
        project.up()
        yield project
    finally:
        project.down()


def docker(*words: str, seconds: float = 120) -> str:
    done = subprocess.run(["docker", *words], capture_output=True, text=True, timeout=seconds)
    assert done.returncode == 0, f"docker {' '.join(words)}\n{done.stdout}{done.stderr}"
    return done.stdout


def _failure_reasons(container: str) -> str:
    """Returns the launcher's messages from each time that the container ended."""
    done = subprocess.run(
        ["docker", "logs", container], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    return "; ".join(line for line in done.stdout.splitlines() if line.startswith("latent-relay:"))


def _compose_command() -> list[str]:
    """Returns the command of Compose v2's plugin, or else that of the older program."""
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True)
    return ["docker", "compose"] if plugin.returncode == 0 else ["docker-compose"]


def has_engine() -> bool:
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "info"], capture_output=True).returncode == 0


def _elapsed(begin: float) -> str:
    return f"{time.monotonic() - begin:.1f} s"

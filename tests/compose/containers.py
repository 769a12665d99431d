"""The service in containers, and what the compose test does with it."""

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
from tests.support.stacks import STAR, Served
from tests.support.waiting import wait_until

PROJECT = "latent-relay-test"
FILES = ("docker-compose.yml", "deploy/compose.triton.yml")
PORTS = ("GATEWAY_PORT", "HTTP_PORT", "GRPC_PORT", "METRICS_PORT")
START_SECONDS = 600
READ_METRICS = """
import urllib.request
print(urllib.request.urlopen("http://127.0.0.1:8002/metrics").read().decode())
"""


def say(text: str) -> None:
    """To who looks on: `make compose-test` takes minutes."""
    print(f"compose-test: {text}", flush=True)


@dataclass
class ComposeHouse(Served):
    """One project of its own, on free ports, so that it meets no other on this machine."""

    environment: dict[str, str] = field(default_factory=dict)
    files: tuple[str, ...] = FILES

    def __post_init__(self) -> None:
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in PORTS]
        for name, held in zip(PORTS, sockets, strict=True):
            self.environment[name] = str(held.getsockname()[1])
            held.close()

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
        """Returns when the gateway draws."""
        begin = time.monotonic()
        scale = ("--scale", f"ray-worker={workers}", "--scale", f"triton={tritons}")
        self.compose("up", "-d", *scale)
        assert wait_until(self.is_ready, START_SECONDS), self.compose("logs", "--tail=80")
        say(f"up with {workers} worker(s), a picture goes through after {_since(begin)}")
        for service in ("ray-head", "ray-worker", "triton"):
            for container in self.containers(service):
                if restarts := self.facts(container)["RestartCount"]:
                    say(f"{service} started {restarts + 1} times: {_why(container)}")

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
        """A picture from the gateway; HTTPError where it refuses."""
        query = urllib.parse.urlencode({"prompt": prompt, "seed": seed})
        with urllib.request.urlopen(f"{self.gateway}/imagine?{query}", timeout=300) as answer:
            return bytes(answer.read())

    def containers(self, service: str) -> list[str]:
        return self.compose("ps", "-q", service).split()

    def facts(self, container: str) -> dict[str, Any]:
        """What `docker inspect` says of it."""
        (facts,) = json.loads(docker("inspect", container))
        return dict(facts)

    def health(self, container: str) -> str:
        return str(self.facts(container)["State"].get("Health", {}).get("Status"))

    def replicas(self, container: str) -> list[str]:
        """The stages that run in a worker."""
        return sorted(stage for stage, _ in self.replica_ids(container))

    def replica_ids(self, container: str) -> set[tuple[str, int]]:
        """Stage and process id of each."""
        lines = docker("top", container, "-eo", "pid,args").splitlines()
        named = [line.split("ServeReplica:") for line in lines if "ServeReplica:" in line]
        return {(name.split("-")[0], int(pid.split()[0])) for pid, name in named}

    def pictures_of(self, triton: str) -> int:
        """How many this server has drawn since its start."""
        said = docker("exec", triton, "python", "-c", READ_METRICS)
        name = 'nv_inference_request_success{model="stable_diffusion",'
        counts = [line.split()[-1] for line in said.splitlines() if line.startswith(name)]
        return int(float(counts[0]))

    def worker_with(self, stage: str) -> str:
        return next(one for one in self.containers("ray-worker") if stage in self.replicas(one))

    def wait_healthy(self, container: str) -> None:
        assert wait_until(lambda: self.health(container) == "healthy", 300, pause=1)


@contextmanager
def opened(**environment: str) -> Iterator[ComposeHouse]:
    """Built and up; down in the end."""
    house = ComposeHouse(environment)
    begin = time.monotonic()
    house.compose("build", seconds=1800)
    size = int(docker("image", "inspect", "-f", "{{.Size}}", "latent-relay:0.1.0"))
    say(f"built in {_since(begin)}, the image has {size / 1e6:,.0f} MB")
    try:
        house.up()
        yield house
    finally:
        house.down()


def docker(*words: str, seconds: float = 120) -> str:
    done = subprocess.run(["docker", *words], capture_output=True, text=True, timeout=seconds)
    assert done.returncode == 0, f"docker {' '.join(words)}\n{done.stdout}{done.stderr}"
    return done.stdout


def _why(container: str) -> str:
    """What its role said each time when it ended."""
    done = subprocess.run(
        ["docker", "logs", container], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    return "; ".join(line for line in done.stdout.splitlines() if line.startswith("latent-relay:"))


def _compose_command() -> list[str]:
    """The plugin, or the program that was there before it."""
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True)
    return ["docker", "compose"] if plugin.returncode == 0 else ["docker-compose"]


def has_engine() -> bool:
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "info"], capture_output=True).returncode == 0


def _since(begin: float) -> str:
    return f"{time.monotonic() - begin:.1f} s"

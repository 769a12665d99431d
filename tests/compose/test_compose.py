"""The service in real containers: `make compose-test`. The tests depend on their order."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay_client import Client
from tests.compose.project import (
    PROJECT,
    ComposeProject,
    docker,
    has_engine,
    report,
    running_project,
)
from tests.support.load import Load
from tests.support.paths import ROOT
from tests.support.stacks import STAR, looks_like_the_star
from tests.support.waiting import wait_until

pytestmark = [
    pytest.mark.skipif(not has_engine(), reason="no Docker engine answers here"),
    pytest.mark.timeout(1200),
]
SERVICES = ("ray-head", "ray-worker", "triton", "gateway")
LOAD_SECONDS = 15


@pytest.fixture(scope="module")
def project() -> Iterator[ComposeProject]:
    # Without the cache, so that every requested picture is drawn.
    with running_project(UNET_REPLICAS="2", CACHE_BYTES="0") as project:
        yield project


def test_draws_through_triton(project: ComposeProject, tmp_path: Path) -> None:
    file = tmp_path / "star.png"
    command = [sys.executable, "client.py", STAR, "-o", str(file), "--seed", "7"]
    subprocess.run([*command, "--url", project.grpc, "--timings"], cwd=ROOT, check=True)
    assert looks_like_the_star(file.read_bytes())


def test_draws_through_the_gateway(project: ComposeProject) -> None:
    assert looks_like_the_star(project.imagine(7))


def test_ports_are_published_on_loopback_only(project: ComposeProject) -> None:
    published = {}
    for service in SERVICES:
        for container in project.containers(service):
            ports = project.inspect(container)["NetworkSettings"]["Ports"]
            bindings = [b for bound in ports.values() for b in bound or []]
            assert {binding["HostIp"] for binding in bindings} <= {"127.0.0.1"}
            published[service] = len(bindings)
    assert published == {"ray-head": 0, "ray-worker": 0, "triton": 3, "gateway": 1}


@pytest.mark.parametrize("service", SERVICES)
def test_runs_as_an_unprivileged_user_that_cannot_write_the_code(
    project: ComposeProject, service: str
) -> None:
    (container,) = project.containers(service)
    assert docker("exec", container, "id", "-u").strip() == "10001"
    writing = ["sh", "-c", "touch /app/x /opt/venv/x /usr/x 2>/dev/null; ls /app/x /opt/venv/x"]
    done = subprocess.run(["docker", "exec", container, *writing], capture_output=True)
    assert done.returncode != 0
    assert not done.stdout


@pytest.mark.parametrize("service", SERVICES)
def test_is_healthy(project: ComposeProject, service: str) -> None:
    (container,) = project.containers(service)
    assert wait_until(lambda: project.health(container) == "healthy", 60)


def test_a_container_without_the_token_cannot_join_the_cluster(project: ComposeProject) -> None:
    program = "import ray; ray.init('ray-head:6379'); print(ray.nodes())"
    words = ["--rm", f"--network={PROJECT}_cluster", "-e", "RAY_AUTH_TOKEN=00", "--entrypoint="]
    done = subprocess.run(
        ["docker", "run", *words, "latent-relay:0.1.0", "python", "-c", program],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode != 0
    assert "AuthenticationError" in done.stderr


def test_a_second_worker_gets_replicas(project: ComposeProject) -> None:
    project.up(workers=2)
    workers = project.containers("ray-worker")

    def both_denoise() -> bool:
        return all("unet" in project.replicas(worker) for worker in workers)

    assert wait_until(both_denoise, 300), [project.replicas(worker) for worker in workers]
    report(f"replicas: {[project.replicas(worker) for worker in workers]}")


def test_a_killed_worker_costs_no_picture(project: ComposeProject) -> None:
    """Every request to Triton and the gateway is answered right, although clients never retry."""
    right = {seed: project.imagine(seed) for seed in range(1, 9)}
    with Client(project.grpc, retries=0) as client:

        def through_triton(seed: int) -> bytes:
            return client.generate(STAR, seed=seed)[0].png

        victim = max(project.containers("ray-worker"), key=lambda one: len(project.replicas(one)))
        with Load([through_triton, through_triton, project.imagine], list(right)) as load:
            time.sleep(LOAD_SECONDS)
            docker("kill", victim)
            killed = time.monotonic()
            assert wait_until(lambda: load.pictures(since=killed) > 3, 300), load.outcomes()
            report(f"a worker killed; pictures again {time.monotonic() - killed:.1f} s later")
            time.sleep(LOAD_SECONDS)
    outcomes = load.outcomes(right=right)
    report(f"{dict(outcomes)}, the slowest took {load.slowest:.1f} s")
    assert outcomes.keys() == {"right"}


def test_a_dead_stub_restarts_triton(project: ComposeProject) -> None:
    """The container's command ends, and the engine restarts the container."""
    (container,) = project.containers("triton")
    restarts = project.inspect(container)["RestartCount"]
    docker("exec", container, "python", "-c", KILL_A_STUB)
    begin = time.monotonic()
    assert wait_until(lambda: project.inspect(container)["RestartCount"] > restarts, 60)
    assert wait_until(project.is_ready, 300)
    report(f"a stub killed; pictures again {time.monotonic() - begin:.1f} s later")
    assert looks_like_the_star(project.imagine(7))


def test_another_generation_goes_live_under_load(project: ComposeProject) -> None:
    """No request fails, and each picture is of one generation, known by its number of steps."""
    project.up(workers=3)
    (head,) = project.containers("ray-head")
    old = {seed: project.imagine(seed) for seed in range(1, 5)}
    settings = ["-e", "DEFAULT_STEPS=6", "-e", "UNET_REPLICAS=1"]  # room for both on two cores
    with Load([project.imagine] * 3, list(old)) as load:
        docker("exec", *settings, head, "python", "-m", "ray_stages", "deploy", seconds=600)
    new = {seed: project.imagine(seed) for seed in old}
    outcomes = load.outcomes(old=old, new=new)
    report(f"{dict(outcomes)}, the slowest took {load.slowest:.1f} s")
    assert outcomes.keys() == {"old", "new"}


def test_the_gateway_finds_a_second_triton(project: ComposeProject, tmp_path: Path) -> None:
    """Both have the same host name, which the gateway resolves for each new connection."""
    often = tmp_path / "often.yml"
    often.write_text("services: {triton: {environment: {GRPC_CONNECTION_SECONDS: 5}}}\n")
    project.files = ("docker-compose.yml", str(often))  # both cannot publish the same ports
    project.up(workers=3)
    project.up(workers=3, tritons=2)
    tritons = project.containers("triton")
    for triton in tritons:
        project.wait_healthy(triton)
    seeds = itertools.count(1000)

    def both_draw() -> bool:
        before = [project.pictures_of(triton) for triton in tritons]
        for _ in range(8):
            project.imagine(next(seeds))
        # More than the health checks draw.
        counts = [project.pictures_of(t) - b for t, b in zip(tritons, before, strict=True)]
        return min(counts) >= 3

    begin = time.monotonic()
    assert wait_until(both_draw, 120, pause=1)
    report(f"both Tritons draw {time.monotonic() - begin:.1f} s after the second was healthy")


KILL_A_STUB = """
import psutil
stubs = [p for p in psutil.process_iter() if p.name().startswith("triton_python_b")]
stubs[0].kill()
"""

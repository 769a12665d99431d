"""The service in containers, for real: `make compose-test`. The tests stand in their order."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay_client import Client
from tests.compose.containers import PROJECT, ComposeHouse, docker, has_engine, opened, say
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
def house() -> Iterator[ComposeHouse]:
    # Without the cache, every picture that is asked for is drawn.
    with opened(UNET_REPLICAS="2", CACHE_BYTES="0") as house:
        yield house


def test_draws_through_triton(house: ComposeHouse, tmp_path: Path) -> None:
    file = tmp_path / "star.png"
    command = [sys.executable, "client.py", STAR, "-o", str(file), "--seed", "7"]
    subprocess.run([*command, "--url", house.grpc, "--timings"], cwd=ROOT, check=True)
    assert looks_like_the_star(file.read_bytes())


def test_draws_through_the_gateway(house: ComposeHouse) -> None:
    assert looks_like_the_star(house.imagine(7))


def test_publishes_nothing_but_on_loopback(house: ComposeHouse) -> None:
    published = {}
    for service in SERVICES:
        for container in house.containers(service):
            ports = house.facts(container)["NetworkSettings"]["Ports"]
            bindings = [b for bound in ports.values() for b in bound or []]
            assert {binding["HostIp"] for binding in bindings} <= {"127.0.0.1"}
            published[service] = len(bindings)
    assert published == {"ray-head": 0, "ray-worker": 0, "triton": 3, "gateway": 1}


@pytest.mark.parametrize("service", SERVICES)
def test_runs_as_nobody_and_writes_nowhere_else(house: ComposeHouse, service: str) -> None:
    (container,) = house.containers(service)
    assert docker("exec", container, "id", "-u").strip() == "10001"
    writing = ["sh", "-c", "touch /app/x /opt/venv/x /usr/x 2>/dev/null; ls /app/x /opt/venv/x"]
    done = subprocess.run(["docker", "exec", container, *writing], capture_output=True)
    assert done.returncode != 0
    assert not done.stdout


@pytest.mark.parametrize("service", SERVICES)
def test_is_healthy(house: ComposeHouse, service: str) -> None:
    (container,) = house.containers(service)
    assert wait_until(lambda: house.health(container) == "healthy", 60)


def test_a_stranger_cannot_join_the_cluster(house: ComposeHouse) -> None:
    asking = "import ray; ray.init('ray-head:6379'); print(ray.nodes())"
    words = ["--rm", f"--network={PROJECT}_cluster", "-e", "RAY_AUTH_TOKEN=00", "--entrypoint="]
    done = subprocess.run(
        ["docker", "run", *words, "latent-relay:0.1.0", "python", "-c", asking],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode != 0
    assert "AuthenticationError" in done.stderr


def test_a_second_worker_takes_a_share(house: ComposeHouse) -> None:
    house.up(workers=2)
    workers = house.containers("ray-worker")

    def both_denoise() -> bool:
        return all("unet" in house.replicas(worker) for worker in workers)

    assert wait_until(both_denoise, 300), [house.replicas(worker) for worker in workers]
    say(f"replicas: {[house.replicas(worker) for worker in workers]}")


def test_a_killed_worker_costs_no_picture(house: ComposeHouse) -> None:
    """Sent = answered right, over both ways in; the client does not even try again."""
    right = {seed: house.imagine(seed) for seed in range(1, 9)}
    with Client(house.grpc, retries=0) as client:

        def through_triton(seed: int) -> bytes:
            return client.generate(STAR, seed=seed)[0].png

        victim = max(house.containers("ray-worker"), key=lambda one: len(house.replicas(one)))
        with Load([through_triton, through_triton, house.imagine], list(right)) as load:
            time.sleep(LOAD_SECONDS)
            docker("kill", victim)
            killed = time.monotonic()
            assert wait_until(lambda: load.pictures(since=killed) > 3, 300), load.outcomes()
            say(f"a worker killed; pictures again {time.monotonic() - killed:.1f} s later")
            time.sleep(LOAD_SECONDS)
    outcomes = load.outcomes(right=right)
    say(f"{dict(outcomes)}, the slowest took {load.slowest:.1f} s")
    assert outcomes.keys() == {"right"}


def test_a_dead_stub_brings_triton_back(house: ComposeHouse) -> None:
    """The role ends with it, and the engine starts the container afresh."""
    (container,) = house.containers("triton")
    restarts = house.facts(container)["RestartCount"]
    docker("exec", container, "python", "-c", KILL_A_STUB)
    begin = time.monotonic()
    assert wait_until(lambda: house.facts(container)["RestartCount"] > restarts, 60)
    assert wait_until(house.is_ready, 300)
    say(f"a stub killed; pictures again {time.monotonic() - begin:.1f} s later")
    assert looks_like_the_star(house.imagine(7))


def test_another_generation_goes_live_under_load(house: ComposeHouse) -> None:
    """No request fails, and each picture is one generation's: by the steps that it takes."""
    house.up(workers=3)
    (head,) = house.containers("ray-head")
    old = {seed: house.imagine(seed) for seed in range(1, 5)}
    settings = ["-e", "DEFAULT_STEPS=6", "-e", "UNET_REPLICAS=1"]  # room for both on two cores
    with Load([house.imagine] * 3, list(old)) as load:
        docker("exec", *settings, head, "python", "-m", "ray_stages", "deploy", seconds=600)
    new = {seed: house.imagine(seed) for seed in old}
    outcomes = load.outcomes(old=old, new=new)
    say(f"{dict(outcomes)}, the slowest took {load.slowest:.1f} s")
    assert outcomes.keys() == {"old", "new"}


def test_a_second_triton_is_found(house: ComposeHouse, tmp_path: Path) -> None:
    """By the name that both have, when the gateway's connection is made anew."""
    often = tmp_path / "often.yml"
    often.write_text("services: {triton: {environment: {GRPC_CONNECTION_SECONDS: 5}}}\n")
    house.files = ("docker-compose.yml", str(often))  # both cannot publish the same ports
    house.up(workers=3)
    house.up(workers=3, tritons=2)
    tritons = house.containers("triton")
    for triton in tritons:
        house.wait_healthy(triton)
    seeds = itertools.count(1000)

    def both_draw() -> bool:
        before = [house.pictures_of(triton) for triton in tritons]
        for _ in range(8):
            house.imagine(next(seeds))
        # More than the health checks' own.
        counts = [house.pictures_of(t) - b for t, b in zip(tritons, before, strict=True)]
        return min(counts) >= 3

    begin = time.monotonic()
    assert wait_until(both_draw, 120, pause=1)
    say(f"both Tritons draw {time.monotonic() - begin:.1f} s after the second was healthy")


KILL_A_STUB = """
import psutil
stubs = [p for p in psutil.process_iter() if p.name().startswith("triton_python_b")]
stubs[0].kill()
"""

"""A Ray cluster of several nodes on this machine, and stacks that join it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from ray.cluster_utils import Cluster

from tests.support.load import Draw, Pictures
from tests.support.stacks import STAR, Stack, start_stack

JoinCluster = Callable[..., Stack]
SEEDS = range(4)
STEPS = 12
STORE_BYTES = 128 * 1024**2


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A head on which only Serve's controller runs, and a node with CPUs for all stages."""
    cluster = Cluster()
    add_node(cluster, 0)
    add_node(cluster, 3)
    try:
        yield cluster
    finally:
        cluster.shutdown()


def add_node(cluster: Cluster, cpus: int) -> Any:
    return cluster.add_node(num_cpus=cpus, object_store_memory=STORE_BYTES, include_dashboard=False)


def draw_with(stack: Stack) -> Draw:
    return lambda seed: stack.draw(STAR, seed=seed, steps=STEPS)[0]


def expected_pictures(stack: Stack) -> Pictures:
    """Draws each seed's picture, one at a time."""
    return {seed: draw_with(stack)(seed) for seed in SEEDS}


def processes(part: str) -> list[psutil.Process]:
    """Returns the cluster's processes, children of this one, whose title contains `part`."""
    found = psutil.Process().children(recursive=True)
    return [process for process in found if part in " ".join(process.cmdline())]


@pytest.fixture
def join_cluster(cluster: Cluster, tmp_path: Path) -> Iterator[JoinCluster]:
    """Starts stacks that use the cluster: launcher, Triton, gateway."""
    stacks: list[Stack] = []

    def start(**environment: str) -> Stack:
        output = tmp_path / f"serve-{len(stacks)}.log"
        stack = start_stack(output, RAY_ADDRESS=cluster.address, **environment)
        stacks.append(stack)
        stack.wait_ready()
        return stack

    yield start
    for stack in stacks:
        stack.stop()

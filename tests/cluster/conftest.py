"""A Ray cluster of several nodes on this machine, and stacks that join it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ray.cluster_utils import Cluster

from tests.serving import Stack, start_stack

Join = Callable[..., Stack]
STORE_BYTES = 128 * 1024**2


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A head on which only Serve's controller runs, and a node with room for each stage."""
    cluster = Cluster()
    add_node(cluster, 0)
    add_node(cluster, 3)
    try:
        yield cluster
    finally:
        cluster.shutdown()


def add_node(cluster: Cluster, cpus: int) -> Any:
    return cluster.add_node(num_cpus=cpus, object_store_memory=STORE_BYTES, include_dashboard=False)


@pytest.fixture
def join(cluster: Cluster, tmp_path: Path) -> Iterator[Join]:
    """Starts a stack of its own: launcher, Triton, gateway."""
    stacks: list[Stack] = []

    def start(**environment: str) -> Stack:
        output = tmp_path / f"serve-{len(stacks)}.log"
        stack = start_stack(output, RAY_ADDRESS=cluster.address, GATEWAY_PORT="0", **environment)
        stacks.append(stack)
        stack.wait_ready()
        return stack

    yield start
    for stack in stacks:
        if stack.process.poll() is None:
            stack.process.terminate()
        stack.process.wait(120)

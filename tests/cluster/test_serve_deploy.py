"""On a user's own Ray cluster, `serve deploy` starts the stages, and bridges find them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
import ray
from ray.cluster_utils import Cluster

from ray_stages.bridge.stage_handles import StageHandles
from ray_stages.launcher.ports import bind_free_port
from ray_stages.serving.generations import serving_generations
from ray_stages.settings import STAGES
from tests.support.paths import ROOT
from tests.support.waiting import wait_until

CPUS = 8
START_SECONDS = 300


@pytest.fixture
def cluster() -> Iterator[tuple[str, str]]:
    """Yields the cluster's address and its dashboard's, which `serve deploy` calls."""
    with bind_free_port("127.0.0.1") as sock:
        port = int(sock.getsockname()[1])
    cluster = Cluster()
    cluster.add_node(num_cpus=CPUS, include_dashboard=True, dashboard_port=port)
    try:
        yield cluster.address, f"http://127.0.0.1:{port}"
    finally:
        cluster.shutdown()


def test_the_stages_of_a_config_file_serve(cluster: tuple[str, str]) -> None:
    address, dashboard = cluster
    command = [sys.executable, "-m", "ray.serve.scripts", "deploy", "deploy/serve.yaml"]
    subprocess.run([*command, "--address", dashboard], cwd=ROOT, check=True)
    # In another process, because Serve's handles would outlive this test and use the next cluster.
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        found = pool.submit(find_stages, address).result()
    assert found == dict.fromkeys(STAGES, ("v1", "miniature-sd"))


def find_stages(address: str) -> dict[str, tuple[str, str]]:
    """Returns generation and checkpoint to which each stage's bridge would send a new picture."""
    ray.init(address, namespace="latent-relay", log_to_driver=False)
    assert wait_until(lambda: serving_generations() == ["v1"], START_SECONDS, pause=1)
    return {stage: asyncio.run(find_stage(stage)) for stage in STAGES}


async def find_stage(stage: str) -> tuple[str, str]:
    handles = StageHandles(stage)
    await handles.connect()
    async with handles.use() as handle:
        return handle.generation, handle.card.name

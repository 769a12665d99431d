"""On a Ray cluster of one's own `serve deploy` brings the stages, and bridges find them."""

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
    """Its address, and that of its dashboard, which `serve deploy` talks to."""
    with bind_free_port("127.0.0.1") as held:
        port = int(held.getsockname()[1])
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
    # Serve's handles live on in a process, and join whatever cluster the next test starts.
    with ProcessPoolExecutor(1, get_context("spawn")) as elsewhere:
        seen = elsewhere.submit(bridges_see, address).result()
    assert seen == dict.fromkeys(STAGES, ("v1", "miniature-sd"))


def bridges_see(address: str) -> dict[str, tuple[str, str]]:
    """Generation and checkpoint that a bridge of each stage would send a new picture to."""
    ray.init(address, namespace="latent-relay", log_to_driver=False)
    assert wait_until(lambda: serving_generations() == ["v1"], START_SECONDS, pause=1)
    return {stage: asyncio.run(found(stage)) for stage in STAGES}


async def found(stage: str) -> tuple[str, str]:
    handles = StageHandles(stage)
    await handles.connect()
    async with handles.use() as handle:
        return handle.generation, handle.card.name

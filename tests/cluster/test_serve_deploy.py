"""On a Ray cluster of one's own `serve deploy` brings the stages, and bridges find them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator

import pytest
import ray
from ray.cluster_utils import Cluster

from ray_stages.generations import serving
from ray_stages.links import Links
from ray_stages.ports import bind_free
from ray_stages.settings import STAGES
from tests.serving import ROOT
from tests.waiting import wait_until

CPUS = 8
START_SECONDS = 300


@pytest.fixture
def dashboard() -> Iterator[str]:
    """The address of a cluster's dashboard, which `serve deploy` talks to."""
    with bind_free("127.0.0.1") as held:
        port = int(held.getsockname()[1])
    cluster = Cluster()
    cluster.add_node(num_cpus=CPUS, include_dashboard=True, dashboard_port=port)
    ray.init(cluster.address, namespace="latent-relay", log_to_driver=False)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        ray.shutdown()
        cluster.shutdown()


def test_the_stages_of_a_config_file_serve(dashboard: str) -> None:
    command = [sys.executable, "-m", "ray.serve.scripts", "deploy", "deploy/serve.yaml"]
    subprocess.run([*command, "--address", dashboard], cwd=ROOT, check=True)
    assert wait_until(lambda: serving() == ["v1"], START_SECONDS, pause=1)
    for stage in STAGES:
        assert asyncio.run(found(stage)) == ("v1", "miniature-sd")


async def found(stage: str) -> tuple[str, str]:
    """Generation and checkpoint that a bridge would send a new picture to."""
    links = Links(stage)
    await links.connect()
    async with links.to() as link:
        return link.generation, link.card.name

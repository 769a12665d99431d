"""On a Ray cluster of one's own `serve deploy` brings the stages, and a Triton joins."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster

from ray_stages.generations import serving
from ray_stages.ports import bind_free
from tests.serving import ROOT, STAR, STOP_SECONDS, Served, looks_like_the_star
from tests.waiting import wait_until

CPUS = 8
START_SECONDS = 300


def free_port() -> int:
    with bind_free("127.0.0.1") as held:
        return int(held.getsockname()[1])


@pytest.fixture
def dashboard() -> Iterator[tuple[str, str]]:
    """The addresses of a cluster's head and of its dashboard, which `serve deploy` talks to."""
    cluster, port = Cluster(), free_port()
    cluster.add_node(num_cpus=CPUS, include_dashboard=True, dashboard_port=port)
    ray.init(cluster.address, namespace="latent-relay", log_to_driver=False)
    try:
        yield cluster.address, f"http://127.0.0.1:{port}"
    finally:
        ray.shutdown()
        cluster.shutdown()


class Role(Served):
    """`python -m ray_stages triton`, as a container has it."""

    def __init__(self, ray_address: str, folder: Path) -> None:
        self.port, self.output = free_port(), folder / "triton.log"
        ports = {"GRPC_PORT": str(self.port), "HTTP_PORT": "0", "METRICS_PORT": "0"}
        own = {**ports, "RAY_ADDRESS": ray_address, "RUN_DIR": str(folder)}
        with self.output.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ray_stages", "triton"],
                cwd=ROOT,
                env={**os.environ, **own},
                stdout=log,
                stderr=log,
            )

    @property
    def grpc(self) -> str:
        return f"127.0.0.1:{self.port}"

    def ready(self) -> bool:
        return "tritonserver is ready" in self.output.read_text(errors="replace")


def test_the_stages_of_a_config_file_serve(dashboard: tuple[str, str], tmp_path: Path) -> None:
    head, url = dashboard
    command = [sys.executable, "-m", "ray.serve.scripts", "deploy", "deploy/serve.yaml"]
    subprocess.run([*command, "--address", url], cwd=ROOT, check=True)
    assert wait_until(lambda: serving() == ["v1"], START_SECONDS, pause=1)
    triton = Role(head, tmp_path)
    try:
        assert wait_until(triton.ready, START_SECONDS, pause=1), triton.output.read_text()
        assert looks_like_the_star(triton.draw(STAR, seed=7)[0])
    finally:
        triton.process.terminate()
        triton.process.wait(STOP_SECONDS)

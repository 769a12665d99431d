"""The network of a worker is cut, and connected again later.

After some seconds the head removes the node. Its stages start on the other worker, and their
requests are tried again there. Back on the network, the worker joins again.
"""

from __future__ import annotations

import pytest

from tests.compose.project import PROJECT, ComposeProject, docker
from tests.faults.report import Row
from tests.faults.scenario import FaultScenario

NETWORK = f"{PROJECT}_cluster"


@pytest.mark.timeout(1800)
def test_network_cut(project: ComposeProject, rows: list[Row]) -> None:
    scenario = FaultScenario(project, rows)
    worker = project.worker_with("unet")

    def inject() -> None:
        docker("network", "disconnect", NETWORK, worker)

    try:
        scenario.survive("the network of a worker with `unet` cut", inject)
    finally:
        docker("network", "connect", NETWORK, worker)
    project.wait_healthy(worker)

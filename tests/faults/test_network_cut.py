"""The network between a worker and the rest of the cluster is cut, and is there again later.

The head gives the node up after some seconds; its stages come up on the other worker, and what was
in them is tried again there. Back on the network, the worker joins anew.
"""

from __future__ import annotations

import pytest

from tests.compose.containers import PROJECT, ComposeHouse, docker
from tests.faults.report import Row
from tests.faults.scene import Scene

NETWORK = f"{PROJECT}_cluster"


@pytest.mark.timeout(1800)
def test_network_cut(house: ComposeHouse, rows: list[Row]) -> None:
    scene = Scene(house, rows)
    worker = house.worker_with("unet")

    def strike() -> None:
        docker("network", "disconnect", NETWORK, worker)

    try:
        scene.suffer("the network of a worker with `unet` cut", strike)
    finally:
        docker("network", "connect", NETWORK, worker)
    house.wait_healthy(worker)

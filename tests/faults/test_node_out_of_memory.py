"""Something on a worker takes all of its memory, until the kernel ends it.

Before that Ray, or the kernel, ends replicas of that worker, or all that it is; what was in them is
tried again.
"""

from __future__ import annotations

import subprocess

import pytest

from tests.compose.containers import ComposeHouse
from tests.faults.report import Row
from tests.faults.scene import Scene

TAKE_ALL = "taken = []\nwhile True: taken.append(b'x' * 10**8)"


@pytest.mark.timeout(1800)
def test_node_out_of_memory(house: ComposeHouse, rows: list[Row]) -> None:
    scene = Scene(house, rows)
    worker = house.worker_with("unet")
    before = house.replica_ids(worker)

    def strike() -> None:
        taking = ["docker", "exec", worker, "python", "-c", TAKE_ALL]
        assert subprocess.run(taking, capture_output=True, timeout=120).returncode == 137

    scene.suffer("the memory of a worker with `unet` full", strike)
    house.wait_healthy(worker)  # it may have started anew
    assert house.replica_ids(worker) != before

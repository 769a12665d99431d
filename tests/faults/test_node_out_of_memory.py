"""A process on a worker takes all of its memory, until the kernel ends it.

Before that, Ray or the kernel ends replicas of that worker, or the whole worker. The requests in
them are tried again.
"""

from __future__ import annotations

import subprocess

import pytest

from tests.compose.project import ComposeProject
from tests.faults.report import Row
from tests.faults.scenario import FaultScenario

TAKE_ALL = "taken = []\nwhile True: taken.append(b'x' * 10**8)"


@pytest.mark.timeout(1800)
def test_node_out_of_memory(project: ComposeProject, rows: list[Row]) -> None:
    scenario = FaultScenario(project, rows)
    worker = project.worker_with("unet")
    before = project.replica_ids(worker)

    def inject() -> None:
        taking = ["docker", "exec", worker, "python", "-c", TAKE_ALL]
        assert subprocess.run(taking, capture_output=True, timeout=120).returncode == 137

    scenario.survive("the memory of a worker with `unet` full", inject)
    project.wait_healthy(worker)  # it may have been restarted
    assert project.replica_ids(worker) != before

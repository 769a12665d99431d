"""kill -9 of a node with everything that runs on it: its replicas start on another node.

No accepted request fails: calls are tried again until a replica is there, up to their deadline.
"""

from __future__ import annotations

from pathlib import Path

import psutil
from ray.cluster_utils import Cluster

from tests.cluster.conftest import add_node, processes
from tests.faults.report import Row
from tests.faults.scenario import FaultScenario
from tests.support.stacks import running_stack


def test_worker_killed(cluster: Cluster, rows: list[Row], tmp_path: Path) -> None:
    of_others = processes("ServeReplica:unet-")
    with running_stack(tmp_path / "serve.log", RAY_ADDRESS=cluster.address) as stack:
        scenario = FaultScenario(stack, rows)
        (denoiser,) = set(processes("ServeReplica:unet-")).difference(of_others)
        add_node(cluster, 3)
        raylet = psutil.Process(denoiser.ppid())

        def inject() -> None:
            for process in [raylet, *raylet.children(recursive=True)]:
                process.kill()

        scenario.survive("a node with all stages killed", inject)

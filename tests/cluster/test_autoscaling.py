"""A stage grows with its load, onto another node, and shrinks again; nothing is lost."""

from __future__ import annotations

from ray.cluster_utils import Cluster

from tests.cluster.conftest import SEEDS, Join, add_node, drawn, processes, way_to
from tests.support.load import Load
from tests.support.waiting import wait_until

CLIENTS = 12
AFTERWARDS = 50  # pictures


def denoisers() -> int:
    return len(processes("ServeReplica:unet-"))


def test_denoisers_grow_with_the_load_and_shrink(cluster: Cluster, join: Join) -> None:
    stack = join(
        UNET_MAX_REPLICAS="2",
        UNET_TARGET_REQUESTS="2",
        SCALE_UP_SECONDS="1",
        SCALE_DOWN_SECONDS="5",
    )
    add_node(cluster, 1)
    right = drawn(stack)
    assert denoisers() == 1
    with Load([way_to(stack)] * CLIENTS, SEEDS) as load:
        assert wait_until(lambda: denoisers() == 2, 120, pause=0.5)
        raylets = {process.ppid() for process in processes("ServeReplica:unet-")}
        goal = load.pictures() + AFTERWARDS
        assert wait_until(lambda: load.pictures() >= goal, 120, pause=0.5)
    assert len(raylets) == 2
    assert wait_until(lambda: denoisers() == 1, 120, pause=0.5)
    assert load.outcomes(right=right).keys() == {"right"}

"""A stage scales with its load, onto another node and back; no request fails."""

from __future__ import annotations

from ray.cluster_utils import Cluster

from tests.cluster.conftest import (
    SEEDS,
    JoinCluster,
    add_node,
    draw_with,
    expected_pictures,
    processes,
)
from tests.support.load import Load
from tests.support.waiting import wait_until

CLIENTS = 12
PICTURES_AFTER = 50  # scaling up


def denoisers() -> int:
    return len(processes("ServeReplica:unet-"))


def test_denoisers_scale_up_and_down_with_the_load(
    cluster: Cluster, join_cluster: JoinCluster
) -> None:
    stack = join_cluster(
        UNET_MAX_REPLICAS="2",
        UNET_TARGET_REQUESTS="2",
        SCALE_UP_SECONDS="1",
        SCALE_DOWN_SECONDS="5",
    )
    add_node(cluster, 1)
    right = expected_pictures(stack)
    assert denoisers() == 1
    with Load([draw_with(stack)] * CLIENTS, SEEDS) as load:
        assert wait_until(lambda: denoisers() == 2, 120, pause=0.5)
        raylets = {process.ppid() for process in processes("ServeReplica:unet-")}
        goal = load.pictures() + PICTURES_AFTER
        assert wait_until(lambda: load.pictures() >= goal, 120, pause=0.5)
    assert len(raylets) == 2
    assert wait_until(lambda: denoisers() == 1, 120, pause=0.5)
    assert load.outcomes(right=right).keys() == {"right"}

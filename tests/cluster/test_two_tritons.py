"""Two Triton servers on one cluster share its stages; either may be stopped."""

from __future__ import annotations

from tests.cluster.conftest import SEEDS, JoinCluster, draw_with, expected_pictures, processes
from tests.support.load import Load


def replicas() -> set[int]:
    return {process.pid for process in processes("ServeReplica:")}


def test_two_tritons_share_the_stages(join_cluster: JoinCluster) -> None:
    first = join_cluster()
    before = replicas()
    second = join_cluster()
    assert replicas() == before
    right = expected_pictures(first)
    assert expected_pictures(second) == right
    with Load([draw_with(second)] * 4, SEEDS) as load:
        first.process.terminate()
        assert first.process.wait(120) == 0
    assert replicas() == before
    assert expected_pictures(second) == right
    assert load.outcomes(right=right).keys() == {"right"}

"""Two Triton servers on one cluster share its stages; either may go."""

from __future__ import annotations

from tests.cluster.conftest import SEEDS, Join, drawn, processes, way_to
from tests.support.load import Load


def replicas() -> set[int]:
    return {process.pid for process in processes("ServeReplica:")}


def test_two_tritons_share_the_stages(join: Join) -> None:
    first = join()
    before = replicas()
    second = join()
    assert replicas() == before
    right = drawn(first)
    assert drawn(second) == right
    with Load([way_to(second)] * 4, SEEDS) as load:
        first.process.terminate()
        assert first.process.wait(120) == 0
    assert replicas() == before
    assert drawn(second) == right
    assert load.outcomes(right=right).keys() == {"right"}

"""Two Triton servers on one cluster share its stages; either may go."""

from __future__ import annotations

import psutil

from tests.cluster.conftest import Join
from tests.cluster.load import Load, drawn


def replicas() -> set[int]:
    found = psutil.Process().children(recursive=True)
    return {p.pid for p in found if "ServeReplica:" in " ".join(p.cmdline())}


def test_two_tritons_share_the_stages(join: Join) -> None:
    first = join()
    before = replicas()
    second = join()
    assert replicas() == before
    right = drawn(first)
    assert drawn(second) == right
    load = Load([second], clients=4)
    first.process.terminate()
    assert first.process.wait(120) == 0
    load.stop()
    assert replicas() == before
    assert drawn(second) == right
    assert load.failures == []
    assert load.of_each(right).keys() == {0}

"""A stage grows with its load, onto another node, and shrinks again; nothing is lost."""

from __future__ import annotations

import psutil
from ray.cluster_utils import Cluster

from tests.cluster.conftest import Join, add_node
from tests.cluster.load import Load, drawn, until


def denoisers() -> list[psutil.Process]:
    found = psutil.Process().children(recursive=True)
    return [p for p in found if "ServeReplica:unet-" in " ".join(p.cmdline())]


def test_denoisers_grow_with_the_load_and_shrink(cluster: Cluster, join: Join) -> None:
    stack = join(
        UNET_MAX_REPLICAS="2",
        UNET_TARGET_REQUESTS="2",
        SCALE_UP_SECONDS="1",
        SCALE_DOWN_SECONDS="5",
    )
    add_node(cluster, 1)
    right = drawn(stack)
    assert len(denoisers()) == 1
    load = Load([stack], clients=12)
    grown = until(lambda: len(denoisers()) == 2, 120)
    nodes = {process.ppid() for process in denoisers()}
    answered = len(load.answers)
    more = until(lambda: len(load.answers) > answered + 50, 120)
    load.stop()
    assert grown
    assert more
    assert len(nodes) == 2
    assert until(lambda: len(denoisers()) == 1, 120)
    assert load.failures == []
    assert load.of_each(right).keys() == {0}

"""A replica that can have no more memory: it fails or dies, and another takes its requests.

The limit is set from outside, a little above what the process has: the load goes beyond it.
"""

from __future__ import annotations

import psutil

from tests.faults.scene import Scene

MARGIN_BYTES = 8_000_000


def test_memory_exhausted(scene: Scene) -> None:
    replica = scene.stack.replica("unet")

    def exhaust() -> None:
        most = replica.memory_info().vms + MARGIN_BYTES
        replica.rlimit(psutil.RLIMIT_AS, (most, most))

    scene.suffer("a replica of `unet` out of memory", exhaust, refuses=True)

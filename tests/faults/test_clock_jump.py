"""The machine's clock jumps an hour ahead, and back.

Deadlines are wall-clock times, so that they hold on every machine: what is in flight when the clock
jumps ahead may be told that its deadline has passed. Nothing else happens.

It is the real clock, and that of everything else here: only with MAY_SET_CLOCK=1, and as root.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.faults.scene import Scene

HOUR = 3600.0

pytestmark = pytest.mark.skipif(
    not os.environ.get("MAY_SET_CLOCK"), reason="MAY_SET_CLOCK is not set"
)


def jump(seconds: float) -> None:
    time.clock_settime(time.CLOCK_REALTIME, time.time() + seconds)


@contextmanager
def right_again() -> Iterator[None]:
    """Whatever happens, the clock is as far as it would have come by itself."""
    wall, monotonic = time.time(), time.monotonic()
    try:
        yield
    finally:
        time.clock_settime(time.CLOCK_REALTIME, wall + time.monotonic() - monotonic)


def test_clock_jump(scene: Scene) -> None:
    with right_again():
        scene.suffer("the clock an hour ahead", lambda: jump(HOUR), refuses=True)
        scene.suffer("the clock back again", lambda: jump(-HOUR), refuses=True)

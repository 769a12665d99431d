"""Waits for a condition instead of a fixed time."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_until(condition: Callable[[], object], seconds: float = 10, pause: float = 0.02) -> bool:
    """Returns whether `condition` came true within `seconds`; calls it every `pause` seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(pause)
    return False

"""The clock of the whole stack jumps an hour ahead, and back.

Deadlines are wall-clock times, so that they hold on every machine: what is in flight when the clock
jumps ahead may be told that its deadline has passed. Nothing else happens.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.conftest import staged
from tests.faults.report import Row
from tests.faults.scene import Scene

LIBRARIES = Path("/usr/lib")


def test_clock_jump(rows: list[Row], tmp_path: Path) -> None:
    library = next(LIBRARIES.glob("*/faketime/libfaketimeMT.so.1"), None)
    if library is None:
        pytest.skip("faketime is not installed")
    clock = tmp_path / "clock"
    clock.write_text("+0")
    environment = {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    with staged(tmp_path / "serve.log", **environment) as stack:
        scene = Scene(stack, rows)
        scene.suffer("the clock an hour ahead", lambda: set_clock(clock, "+1h"), refuses=True)
        scene.suffer("the clock back again", lambda: set_clock(clock, "+0"), refuses=True)


def set_clock(clock: Path, offset: str) -> None:
    clock.write_text(offset)

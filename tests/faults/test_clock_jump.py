"""The wall clock jumps an hour ahead under all processes of the stack, and back.

Deadlines are wall-clock times, so that they hold on every machine: what is in flight when the clock
jumps ahead may be told that its deadline has passed. Nothing else happens.

The machine's own clock stays as it is: `clock.c` is preloaded.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.report import Row
from tests.faults.scene import Scene
from tests.support.stacks import running_stack

HOUR = 3600
SOURCE = Path(__file__).parent / "clock.c"


@dataclass
class Clock:
    """environment: of processes that are to live by it."""

    file: Path
    environment: dict[str, str]

    def set_ahead(self, seconds: int) -> None:
        with self.file.open("r+b") as file:  # in its place: the processes have mapped it
            file.write(struct.pack("q", seconds))


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    compiler = shutil.which("cc") or pytest.skip("no C compiler here")
    library, file = tmp_path / "clock.so", tmp_path / "ahead"
    command = [compiler, "-shared", "-fPIC", "-O2", "-Wall", "-Werror", str(SOURCE), "-o"]
    subprocess.run([*command, str(library), "-ldl", "-lpthread"], check=True)
    file.write_bytes(struct.pack("q", 0))
    return Clock(file, {"LD_PRELOAD": str(library), "CLOCK_AHEAD": str(file)})


def test_the_clock_is_set_for_those_who_live_by_it(clock: Clock) -> None:
    """Its time of day jumps, and what waits for a time of day or for a while waits as long."""
    program = (
        "import threading, time; ahead = time.time(); monotonic = time.monotonic();"
        "threading.Event().wait(0.1); time.sleep(0.1);"
        "print(ahead, time.monotonic() - monotonic)"
    )
    for seconds in (0, HOUR, -HOUR):
        clock.set_ahead(seconds)
        environment = {**os.environ, **clock.environment}
        words = subprocess.check_output([sys.executable, "-c", program], env=environment, timeout=9)
        ahead, waited = map(float, words.split())
        assert abs(ahead - time.time() - seconds) < 5
        assert 0.2 <= waited < 2


def test_clock_jump(clock: Clock, rows: list[Row], tmp_path: Path) -> None:
    with running_stack(tmp_path / "serve.log", **clock.environment) as stack:
        scene = Scene(stack, rows)
        scene.suffer("the clock an hour ahead", lambda: clock.set_ahead(HOUR), refuses=True)
        scene.suffer("the clock back again", lambda: clock.set_ahead(0), refuses=True)

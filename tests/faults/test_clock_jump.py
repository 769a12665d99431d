"""The wall clock of all processes of the stack jumps an hour ahead, and back.

Deadlines are wall-clock times, so that they hold on every machine. A request that is in flight when
the clock jumps ahead may be refused because its deadline has passed; nothing else may happen.

The machine's own clock does not change: the processes preload `clock.c`.
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
from tests.faults.scenario import FaultScenario
from tests.support.stacks import running_stack

HOUR = 3600
SOURCE = Path(__file__).parent / "clock.c"


@dataclass
class Clock:
    """A wall clock that can be set; environment: the variables for processes that use it."""

    file: Path
    environment: dict[str, str]

    def set_ahead(self, seconds: int) -> None:
        with self.file.open("r+b") as file:  # in place, because the processes have mapped it
            file.write(struct.pack("q", seconds))


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    compiler = shutil.which("cc") or pytest.skip("no C compiler here")
    library, file = tmp_path / "clock.so", tmp_path / "ahead"
    command = [compiler, "-shared", "-fPIC", "-O2", "-Wall", "-Werror", str(SOURCE), "-o"]
    subprocess.run([*command, str(library), "-ldl", "-lpthread"], check=True)
    file.write_bytes(struct.pack("q", 0))
    return Clock(file, {"LD_PRELOAD": str(library), "CLOCK_AHEAD": str(file)})


def test_the_clock_is_set_for_processes_that_preload_it(clock: Clock) -> None:
    """The time of day jumps, but waits last as long as before."""
    program = (
        "import threading, time; ahead = time.time(); monotonic = time.monotonic();"
        "threading.Event().wait(0.1); time.sleep(0.1);"
        "print(ahead, time.monotonic() - monotonic)"
    )
    for seconds in (0, HOUR, -HOUR):
        clock.set_ahead(seconds)
        environment = {**os.environ, **clock.environment}
        command = [sys.executable, "-c", program]
        output = subprocess.check_output(command, env=environment, timeout=9)
        ahead, waited = map(float, output.split())
        assert abs(ahead - time.time() - seconds) < 5
        assert 0.2 <= waited < 2


def test_clock_jump(clock: Clock, rows: list[Row], tmp_path: Path) -> None:
    with running_stack(tmp_path / "serve.log", **clock.environment) as stack:
        scenario = FaultScenario(stack, rows)
        scenario.survive("the clock an hour ahead", lambda: clock.set_ahead(HOUR), refuses=True)
        scenario.survive("the clock back again", lambda: clock.set_ahead(0), refuses=True)

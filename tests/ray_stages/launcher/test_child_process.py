from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil

from ray_stages.launcher.child_process import start_child, stop_child
from tests.support.waiting import wait_until

STUBBORN = (
    "import signal, time; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(60)"
)


def test_a_child_that_ignores_sigterm_is_killed_after_its_grace() -> None:
    child = start_child([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE)
    assert child.stdout
    child.stdout.readline()
    begin = time.monotonic()
    stop_child(child, grace=0.3)
    assert child.returncode == -9
    assert 0.3 <= time.monotonic() - begin < 10


def test_children_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            textwrap.dedent(f"""
                import pathlib, time
                from ray_stages.launcher.child_process import start_child
                child = start_child(["sleep", "60"])
                pathlib.Path({str(pid_file)!r}).write_text(f"{{child.pid}} ")
                time.sleep(60)
            """),
        ]
    )
    assert wait_until(lambda: pid_file.exists() and pid_file.read_text().endswith(" "))
    child = psutil.Process(int(pid_file.read_text()))
    parent.kill()
    parent.wait()
    assert psutil.wait_procs([child], timeout=10)[1] == []

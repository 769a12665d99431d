"""The disk is full where latents are dumped, or where Ray writes its logs and spills objects.

Pictures are still drawn: a dump is skipped with a line in the log, and the tensors between stages
are too small to be spilled.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.report import Row
from tests.faults.scenario import FaultScenario
from tests.support.stacks import STAR, running_stack

MEGABYTES = 64


@contextmanager
def small_disk() -> Iterator[Path]:
    """Mounts a tmpfs, which only root may do. Its path is short because Ray puts sockets there."""
    folder = Path(tempfile.mkdtemp(prefix="lr-"))
    size = f"size={MEGABYTES}m"
    mounting = ["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)]
    if subprocess.run(mounting, capture_output=True).returncode:
        folder.rmdir()
        pytest.skip("no disk can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        folder.rmdir()


def fill(folder: Path) -> None:
    with (folder / "full").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(2**16))
    assert shutil.disk_usage(folder).free == 0


def test_latents_disk_full(rows: list[Row], tmp_path: Path) -> None:
    with (
        small_disk() as disk,
        running_stack(tmp_path / "serve.log", LATENTS_DIR=str(disk)) as stack,
    ):
        scenario = FaultScenario(stack, rows)

        def inject() -> None:
            fill(disk)
            stack.infer(STAR, seed=7, steps=12, dump_latents_every=1)

        scenario.survive("the disk of `LATENTS_DIR` full", inject)


def test_ray_disk_full(rows: list[Row], tmp_path: Path) -> None:
    with (
        small_disk() as disk,
        running_stack(tmp_path / "serve.log", TMPDIR=str(disk)) as stack,
    ):
        scenario = FaultScenario(stack, rows)
        scenario.survive("the disk of Ray's logs and spilled objects full", lambda: fill(disk))

"""The disk is full where latents are dumped, and where Ray keeps its logs and spills objects.

Pictures go on: a dump is left out with a line in the log, and what stages hand each other is small.
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
from tests.faults.scene import Scene
from tests.support.stacks import STAR, running_stack

MEGABYTES = 64


@contextmanager
def small_disk() -> Iterator[Path]:
    """Only root may mount one. Its path is short: Ray puts sockets there."""
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
        scene = Scene(stack, rows)

        def strike() -> None:
            fill(disk)
            stack.infer(STAR, seed=7, steps=12, dump_latents_every=1)

        scene.suffer("the disk of `LATENTS_DIR` full", strike)


def test_ray_disk_full(rows: list[Row], tmp_path: Path) -> None:
    with (
        small_disk() as disk,
        running_stack(tmp_path / "serve.log", TMPDIR=str(disk)) as stack,
    ):
        scene = Scene(stack, rows)
        scene.suffer("the disk of Ray's logs and spilled objects full", lambda: fill(disk))

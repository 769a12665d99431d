from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from ray_stages.launcher import leftovers


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Stand-ins for /dev/shm and the temporary folder."""
    shm, tmp = tmp_path / "shm", tmp_path / "tmp"
    shm.mkdir()
    tmp.mkdir()
    monkeypatch.setattr(leftovers, "SHARED_MEMORY", shm)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp))
    return shm, tmp


def make_old(path: Path) -> Path:
    os.utime(path, (0, 0))
    return path


def test_what_no_process_uses_is_removed(folders: tuple[Path, Path]) -> None:
    shm, tmp = folders
    dead, alive = shm / "latent_relay_0badbeef_unet", shm / "latent_relay_0abcdef0_unet"
    foreign, young = shm / "somebody_elses", shm / "latent_relay_12345678"
    for path in (dead, alive, foreign, young):
        path.write_text("")
    ray = tmp / "relay-abc"
    (ray / "ray").mkdir(parents=True)
    for path in (dead, alive, foreign, ray):
        make_old(path)
    user = subprocess.Popen(
        [sys.executable, "-c", "input()", "--id=latent_relay_0abcdef0"], stdin=subprocess.PIPE
    )
    try:
        assert set(leftovers.remove_leftovers()) == {dead, ray}
    finally:
        user.communicate(b"\n")
    assert sorted(shm.iterdir()) == sorted([alive, foreign, young])
    assert not ray.exists()

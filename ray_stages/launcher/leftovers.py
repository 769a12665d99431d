"""Removes what a killed stack left behind: Triton's shared memory and Ray's temporary folders."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path

import psutil

SHARED_MEMORY = Path("/dev/shm")
TRITON_PREFIX = "latent_relay_"
RAY_PREFIX = "relay-"
# A stack that starts now has made its folder, and its process is not there yet.
MIN_AGE_SECONDS = 60.0


def remove_leftovers() -> list[Path]:
    """Removes this user's leftovers that no process names on its command line; returns them."""
    found = [
        *SHARED_MEMORY.glob(f"{TRITON_PREFIX}*"),
        *Path(tempfile.gettempdir()).glob(f"{RAY_PREFIX}*"),
    ]
    old = [path for path in found if _is_own_and_old(path)]
    if not old:
        return []
    commands = _command_lines()
    removed = [path for path in old if not any(_name(path) in line for line in commands)]
    for path in removed:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return removed


def _is_own_and_old(path: Path) -> bool:
    try:
        status = path.lstat()
    except OSError:
        return False
    return status.st_uid == os.getuid() and time.time() - status.st_mtime > MIN_AGE_SECONDS


def _name(path: Path) -> str:
    """What the processes that use it have on their command line."""
    if path.parent != SHARED_MEMORY:
        return str(path)
    return path.name[: len(TRITON_PREFIX) + 8]  # the server's name; segments add more to it


def _command_lines() -> list[str]:
    lines = []
    for process in psutil.process_iter():
        try:
            lines.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return lines

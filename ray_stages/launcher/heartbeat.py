"""How a container's health check sees that its role still watches over its parts."""

from __future__ import annotations

import time
from pathlib import Path

from ray_stages.settings import Settings

STALE_SECONDS = 30.0


def beat(settings: Settings) -> None:
    _file(settings).touch()


def silent_seconds(settings: Settings) -> float:
    """Since the last beat; infinite where there was none."""
    try:
        return time.time() - _file(settings).stat().st_mtime
    except FileNotFoundError:
        return float("inf")


def _file(settings: Settings) -> Path:
    return Path(settings.run_dir) / "heartbeat"

"""A file that a container's main process touches, so that the health check sees it is alive."""

from __future__ import annotations

import time
from pathlib import Path

from ray_stages.settings import Settings

STALE_SECONDS = 30.0


def record_heartbeat(settings: Settings) -> None:
    _heartbeat_file(settings).touch()


def seconds_since_heartbeat(settings: Settings) -> float:
    """Returns infinity if there was no heartbeat yet."""
    try:
        return time.time() - _heartbeat_file(settings).stat().st_mtime
    except FileNotFoundError:
        return float("inf")


def _heartbeat_file(settings: Settings) -> Path:
    return settings.run_dir / "heartbeat"

"""What the replicas do while the stack starts, read from the end of Ray's log."""

from __future__ import annotations

import re
from pathlib import Path

TAIL_BYTES = 8192
VERBS = {"export": "makes", "measure": "compares"}
EVENT = re.compile(rf"event=({'|'.join(VERBS)}|set_up) stage=(\w+)(?: what=(\S+))?")


def describe_progress(log: Path) -> str:
    """Returns text like "unet makes openvino-2026.4.1", or "" if no stage does anything slow."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    latest: dict[str, str] = {}
    for event, stage, what in EVENT.findall(text):
        latest[stage] = f"{stage} {VERBS[event]} {what}" if event in VERBS else ""
    return ", ".join(filter(None, latest.values()))

"""What the replicas are at while the stack starts, from the end of Ray's log."""

from __future__ import annotations

import re
from pathlib import Path

TAIL_BYTES = 8192
DOING = {"export": "makes", "measure": "compares"}
EVENT = re.compile(rf"event=({'|'.join(DOING)}|set_up) stage=(\w+)(?: what=(\S+))?")


def latest(log: Path) -> str:
    """Such as "unet makes openvino-2026.4.1"; empty when nothing takes its time."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    doing: dict[str, str] = {}
    for event, stage, what in EVENT.findall(text):
        doing[stage] = f"{stage} {DOING[event]} {what}" if event in DOING else ""
    return ", ".join(filter(None, doing.values()))

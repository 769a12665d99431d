"""Counts and findings of a fuzz run, in files, so that they survive a crash of the process."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase

SHOWN = 2000
# No database and no shrinking: the seed identifies a case, and the server may have ended.
SETTINGS: dict[str, Any] = {
    "database": None,
    "deadline": None,
    "phases": [Phase.generate],
    "suppress_health_check": list(HealthCheck),
}


class Findings:
    """Counts answers by code, and keeps one example of each kind of wrong answer.

    The current case is in `<file>.last`, so that a case which ends the server is known.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._last = file.with_suffix(".last")
        self.codes: Counter[str] = Counter()
        self.wrong: dict[str, str] = {}

    @property
    def cases(self) -> int:
        return self.codes.total()

    def begin(self, case: object) -> str:
        shown = f"{case!r}"[:SHOWN]
        self._last.write_text(shown)
        return shown

    def add(self, what: str, shown: str) -> None:
        """Keeps the first example of each kind; texts that differ in numbers are of one kind."""
        self.wrong.setdefault(re.sub(r"\d+", "#", what[:400]), shown)

    def write(self) -> None:
        self._file.write_text(json.dumps({"codes": self.codes, "wrong": self.wrong}, indent=1))


def read(file: Path) -> dict[str, Any]:
    nothing: dict[str, Any] = {"codes": {}, "wrong": {}}
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else nothing
    return found

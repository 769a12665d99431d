"""The table of faults in docs/reliability.md, from a run of all of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tests.support.paths import ROOT

DOCUMENT = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- faults -->\n", "<!-- /faults -->\n"
HEAD = """\
| what was done | sent | answered right | refused clearly | none of both | again after | slowest |
|---|---|---|---|---|---|---|
"""


@dataclass(frozen=True)
class Row:
    """recovery_seconds: from the fault until every answer is right again."""

    fault: str
    sent: int
    right: int
    refused: int
    unclear: list[str]
    recovery_seconds: float
    slowest: float

    def __str__(self) -> str:
        counts = f"{self.sent} | {self.right} | {self.refused} | {len(self.unclear)}"
        return (
            f"| {self.fault} | {counts} | {self.recovery_seconds:.1f} s | {self.slowest:.1f} s |\n"
        )


def write(rows: Iterable[Row]) -> None:
    text = DOCUMENT.read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    DOCUMENT.write_text(before + BEGIN + HEAD + "".join(map(str, rows)) + END + after)

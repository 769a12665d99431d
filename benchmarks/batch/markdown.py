"""The table of docs/batch.md."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.batch.measure import Measurement
from benchmarks.reports.tables import markdown_table

PEER_LABELS = {
    "plain": "`map_batches`, PyTorch",
    "plain_fast": "`map_batches`, our runtime",
    "ours": "`batch/`",
}
GOAL = 1.3  # ours over plain, in pictures a second on mixed work


def markdown(measurements: Sequence[Measurement]) -> str:
    """Returns a table with a row for each measurement, and whether the goal is met."""
    found = {(measurement.load, measurement.peer): measurement for measurement in measurements}
    rows = [
        (
            measurement.load,
            PEER_LABELS[measurement.peer],
            *_columns(measurement, found[measurement.load, "plain"]),
        )
        for measurement in measurements
    ]
    mixed = [load for load, peer in found if peer == "ours" and load.startswith("mixed")]
    least = min(found[load, "ours"].rate / found[load, "plain"].rate for load in mixed)
    verdict = "met" if least >= GOAL else "**not met**"
    head = ("rows", "", "pictures/s", "", "CPU s a picture", "memory, MB")
    return f"{markdown_table(head, rows)}\n\nGoal on mixed work: {GOAL}×; {least:.2f}×, {verdict}."


def _columns(measurement: Measurement, plain: Measurement) -> tuple[str, ...]:
    figures = f"{measurement.rate:.2f}", f"{measurement.rate / plain.rate:.2f}×"
    return *figures, f"{measurement.cpu_seconds:.2f}", f"{measurement.memory_mb:.0f}"

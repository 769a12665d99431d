"""The summary of a run, counted while rows are written."""

from __future__ import annotations

import heapq
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from batch.configuration.pipeline import Pipeline
from batch.rows import OK, TIME_COLUMNS, Row, row_seed


@dataclass
class RunSummary:
    """Numbers of drawn and failed rows, busy times, and a sample of the pictures.

    busy_ms: by operator. sample: the pictures with the lowest hashes of their keys, as tuples of
    hash, key and part; so it does not depend on the order of the rows.
    """

    pipeline: Pipeline
    started: float = field(default_factory=time.monotonic)
    last_row: float = field(default_factory=time.monotonic)
    drawn: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    busy_ms: Counter[str] = field(default_factory=Counter)
    sample: list[tuple[int, str, str]] = field(default_factory=list)

    def add(self, outcome: Row) -> None:
        """Counts a written row (OUTCOME_SCHEMA)."""
        self.last_row = time.monotonic()
        if outcome["status"] == OK:
            self.drawn += 1
            self._add_to_sample(outcome)
        else:
            self.failures[outcome["kind"]] += 1
        for name in TIME_COLUMNS:
            self.busy_ms[name.removesuffix("_ms")] += outcome[name] or 0

    @property
    def rows(self) -> int:
        return self.drawn + self.failures.total()

    @property
    def seconds(self) -> float:
        """Seconds from the start to the last row, and never 0."""
        return max(self.last_row - self.started, 1e-3)

    def busy_shares(self) -> Mapping[str, float]:
        """Returns by operator the share of its actors' time in which they computed."""
        names = self.pipeline.operator_names
        actors = {name: self.pipeline.operator(name).concurrency for name in names}
        return {n: self.busy_ms[n] / 1000 / self.seconds / actors[n] for n in names}

    def progress(self, total: int) -> str:
        """Returns one line: rows so far, rows a second, time left."""
        rate = self.rows / self.seconds
        left = f", {_duration((total - self.rows) / rate)} left" if rate else ""
        return f"{self.rows} of {total} rows, {rate:.1f} rows/s{left}"

    def text(self) -> str:
        """Returns the lines that end a run."""
        lines = [
            f"{self.rows} rows in {_duration(self.seconds)}: {self.drawn} drawn, "
            f"{self.failures.total()} in error; {self.drawn / self.seconds:.1f} pictures/s",
            *(f"  {count} {kind}" for kind, count in self.failures.most_common()),
            "busy: " + ", ".join(f"{n} {share:.0%}" for n, share in self.busy_shares().items()),
        ]
        return "\n".join(lines)

    def _add_to_sample(self, outcome: Row) -> None:
        # A heap drops its lowest item; with negated hashes that is the highest hash.
        key = outcome["key"]
        heapq.heappush(self.sample, (-row_seed(0, f"sample {key}"), key, outcome["part"]))
        if len(self.sample) > self.pipeline.output.sheet:
            heapq.heappop(self.sample)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"

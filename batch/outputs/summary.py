"""What came of the rows, counted while they are written."""

from __future__ import annotations

import heapq
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from batch.configuration.pipeline import Pipeline
from batch.rows import OK, TIMES, Row, seed_of


@dataclass
class Tally:
    """sample: of the pictures, those whose keys have the lowest of some random numbers."""

    pipeline: Pipeline
    began: float = field(default_factory=time.monotonic)
    last: float = field(default_factory=time.monotonic)
    drawn: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    busy: Counter[str] = field(default_factory=Counter)  # milliseconds by operator
    sample: list[tuple[int, str, str]] = field(default_factory=list)

    def add(self, receipt: Row) -> None:
        self.last = time.monotonic()
        if receipt["status"] == OK:
            self.drawn += 1
            self._consider(receipt)
        else:
            self.failures[receipt["kind"]] += 1
        for name in TIMES:
            self.busy[name.removesuffix("_ms")] += receipt[name] or 0

    @property
    def rows(self) -> int:
        return self.drawn + self.failures.total()

    @property
    def seconds(self) -> float:
        """Until the last row; at least a moment, to divide by."""
        return max(self.last - self.began, 1e-3)

    def busy_shares(self) -> Mapping[str, float]:
        """Of the time that all actors of an operator had."""
        stations = self.pipeline.stations
        actors = {name: self.pipeline.operator(name).concurrency for name in stations}
        return {n: self.busy[n] / 1000 / self.seconds / actors[n] for n in stations}

    def progress(self, total: int) -> str:
        rate = self.rows / self.seconds
        left = f", {_clock((total - self.rows) / rate)} left" if rate else ""
        return f"{self.rows} of {total} rows, {rate:.1f} rows/s{left}"

    def summary(self) -> str:
        lines = [
            f"{self.rows} rows in {_clock(self.seconds)}: {self.drawn} drawn, "
            f"{self.failures.total()} in error; {self.drawn / self.seconds:.1f} pictures/s",
            *(f"  {count} {kind}" for kind, count in self.failures.most_common()),
            "busy: " + ", ".join(f"{n} {share:.0%}" for n, share in self.busy_shares().items()),
        ]
        return "\n".join(lines)

    def _consider(self, receipt: Row) -> None:
        """Negative, since the heap lets go of its lowest."""
        key = receipt["key"]
        heapq.heappush(self.sample, (-seed_of(0, f"sample {key}"), key, receipt["part"]))
        if len(self.sample) > self.pipeline.output.sheet:
            heapq.heappop(self.sample)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"

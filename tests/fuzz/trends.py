"""Fits a line through the samples of each quantity, and judges whether it stays flat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tests.fuzz.processes import Sample

WARM_UP = 0.25  # share of the time that is left out: caches fill, allocators find their size
# How much a fitted line may rise per hour, and how much it may rise in a run of any length.
HOURLY = {"RSS MB": 60.0, "handles": 30.0, "/dev/shm MB": 10.0, "/dev/shm files": 5.0}
HOURLY |= {"object store MB": 20.0, "objects in store": 20.0}
NOISE = {"RSS MB": 12.0, "handles": 8.0, "/dev/shm MB": 2.0, "/dev/shm files": 2.0}
NOISE |= {"object store MB": 10.0, "objects in store": 10.0}


class Trend(NamedTuple):
    """The line fitted to one quantity after the warm-up.

    start: the first sample. first, last: the fitted values at the line's ends. most: the largest
    sample. hourly: the rise per hour. allowed: the limit of `last - first`.
    """

    quantity: str
    start: float
    first: float
    last: float
    most: float
    hourly: float
    allowed: float

    @property
    def is_flat(self) -> bool:
        return self.last - self.first <= self.allowed


def fit_trends(samples: Sequence[Sample]) -> list[Trend]:
    names = sorted({name for sample in samples for name in sample.values})
    begun = [name for name in names if sum(name in sample.values for sample in samples) >= 8]
    return [_fit_trend(name, samples) for name in begun]


def _fit_trend(quantity: str, samples: Sequence[Sample]) -> Trend:
    points = [(s.at, s.values[quantity]) for s in samples if quantity in s.values]
    kept = points[int(len(points) * WARM_UP) :]
    at = np.array([point[0] for point in kept]) - kept[0][0]
    values = np.array([point[1] for point in kept])
    slope, level = np.polyfit(at, values, 1)
    kind = next(kind for kind in HOURLY if quantity.endswith(kind))
    allowed = max(NOISE[kind], HOURLY[kind] * float(at[-1]) / 3600)
    return Trend(
        quantity=quantity,
        start=points[0][1],
        first=float(level),
        last=float(level + slope * at[-1]),
        most=float(values.max()),
        hourly=float(slope * 3600),
        allowed=allowed,
    )


def table(found: Sequence[Trend]) -> str:
    rows = [f"{'':34}{'start':>9}{'line from':>10}{'to':>9}{'most':>9}{'an hour':>9}"]
    for line in found:
        verdict = "" if line.is_flat else f"  NOT FLAT: over {line.allowed:.0f}"
        rows.append(
            f"{line.quantity:34}{line.start:9.1f}{line.first:10.1f}{line.last:9.1f}{line.most:9.1f}"
            f"{line.hourly:+9.1f}{verdict}"
        )
    return "\n".join(rows)

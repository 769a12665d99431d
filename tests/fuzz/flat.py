"""Whether what was sampled stays flat: a line through it, and how far that may rise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tests.fuzz.processes import Sample

WARM_UP = 0.25  # of the time: caches fill, allocators find their size
# What may be added in an hour, as the fitted line says, and what is noise over a run of any length.
HOURLY = {"RSS MB": 60.0, "handles": 30.0, "/dev/shm MB": 10.0, "/dev/shm files": 5.0}
HOURLY |= {"object store MB": 20.0, "objects in store": 20.0}
NOISE = {"RSS MB": 12.0, "handles": 8.0, "/dev/shm MB": 2.0, "/dev/shm files": 2.0}
NOISE |= {"object store MB": 10.0, "objects in store": 10.0}


class Line(NamedTuple):
    """first, last: where the line fitted after the warm-up begins and ends; start: the sample."""

    what: str
    start: float
    first: float
    last: float
    most: float
    hourly: float
    allowed: float

    @property
    def is_flat(self) -> bool:
        return self.last - self.first <= self.allowed


def lines(samples: Sequence[Sample]) -> list[Line]:
    names = sorted({name for sample in samples for name in sample.values})
    begun = [name for name in names if sum(name in sample.values for sample in samples) >= 8]
    return [_line(name, samples) for name in begun]


def _line(what: str, samples: Sequence[Sample]) -> Line:
    points = [(s.at, s.values[what]) for s in samples if what in s.values]
    kept = points[int(len(points) * WARM_UP) :]
    at = np.array([point[0] for point in kept]) - kept[0][0]
    values = np.array([point[1] for point in kept])
    slope, level = np.polyfit(at, values, 1)
    kind = next(kind for kind in HOURLY if what.endswith(kind))
    allowed = max(NOISE[kind], HOURLY[kind] * float(at[-1]) / 3600)
    return Line(
        what=what,
        start=points[0][1],
        first=float(level),
        last=float(level + slope * at[-1]),
        most=float(values.max()),
        hourly=float(slope * 3600),
        allowed=allowed,
    )


def table(found: Sequence[Line]) -> str:
    rows = [f"{'':34}{'start':>9}{'line from':>10}{'to':>9}{'most':>9}{'an hour':>9}"]
    for line in found:
        verdict = "" if line.is_flat else f"  NOT FLAT: over {line.allowed:.0f}"
        rows.append(
            f"{line.what:34}{line.start:9.1f}{line.first:10.1f}{line.last:9.1f}{line.most:9.1f}"
            f"{line.hourly:+9.1f}{verdict}"
        )
    return "\n".join(rows)

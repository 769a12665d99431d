"""Each candidate of a stage: how fast, how large, how right."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.loads.samples import percentile
from benchmarks.runtimes import work
from benchmarks.runtimes.child import Child, reason
from benchmarks.runtimes.plan import Bench, Candidate


@dataclass
class Measured:
    """One candidate. reason: why there is no more of it; times: seconds of calls, by rows; cold,
    warm: seconds to open it without and with what is kept on disk; files: PNGs by this UNet."""

    candidate: Candidate
    reason: str = ""
    cold: float = 0.0
    warm: float = 0.0
    peak_mb: float = 0.0
    disk_mb: float = 0.0
    error: float = 0.0
    times: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    files: list[bytes] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        milliseconds = {
            rows: {"best": round(1000 * min(times), 3), "median": round(1000 * _median(times), 3)}
            for rows, times in self.times.items()
        }
        return {
            **{"stage": self.candidate.stage, "runtime": self.candidate.runtime},
            **{"precision": self.candidate.precision, "reason": self.reason},
            **{"cold_s": round(self.cold, 2), "warm_s": round(self.warm, 2)},
            **{"peak_mb": round(self.peak_mb), "disk_mb": round(self.disk_mb, 2)},
            **{"error": self.error, "ms": milliseconds},
        }

    @contextmanager
    def excused(self) -> Iterator[None]:
        """What fails, fails alone: whatever another project's converter raises."""
        try:
            yield
        except Exception as failure:
            self.reason = reason(failure)


def measure(bench: Bench, stage: str, prompts: list[str]) -> list[Measured]:
    """prompts: to draw with each UNet."""
    found = [Measured(candidate) for candidate in bench.plan.candidates(stage)]
    _open_cold(bench, found)
    there = [one for one in found if not one.reason]
    with ExitStack() as stack:
        children = [stack.enter_context(Child(bench.plan.limit)) for _ in there]
        wait([child.ready for child in children])  # all import at once, none while one is timed
        pairs = list(zip(there, children, strict=True))
        for one, child in pairs:
            _open_warm(bench, one, child)
        for turn in range(1 + bench.plan.rounds):
            for one, child in pairs:
                _round(bench, one, child, counts=turn > 0)
        for one, child in pairs:
            if prompts and stage == "unet" and not one.reason:
                with one.excused():
                    one.files = child(work.draw_with_unet, bench, prompts)
    return found


def _open_cold(bench: Bench, found: list[Measured]) -> None:
    """In one process after the other, until a candidate breaks it."""
    child = Child(bench.plan.limit)
    for one in found:
        with one.excused():
            opening = child(work.open_candidate, bench, one.candidate, bench.threads, ())
            one.cold = opening.seconds
            one.disk_mb = disk_mb(bench.cache(one.candidate))
        if one.reason:
            child.close()
            child = Child(bench.plan.limit)
    child.close()


def _open_warm(bench: Bench, one: Measured, child: Child) -> None:
    with one.excused():
        rows = bench.plan.rows
        opening = child(work.open_candidate, bench, one.candidate, bench.threads, rows)
        one.warm, one.peak_mb = opening.seconds, opening.peak_mb
        one.error = child(work.error)


def _round(bench: Bench, one: Measured, child: Child, counts: bool) -> None:
    """The first round only prepares the shapes."""
    if one.reason:
        return
    with one.excused():
        for rows in bench.plan.rows:
            seconds = child(work.call, rows)
            if counts:
                one.times[rows].append(seconds)


def disk_mb(cache: Path) -> float:
    """Of what is read when it is opened again; int8 lies beside the graph that it was made of, and
    comes after it by name."""
    folders = sorted(cache.glob("runtimes/*/*/"), reverse=True)
    for folder in [*folders, cache / "inductor"]:
        if size := sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()):
            return size / 1e6
    return 0.0


def _median(times: list[float]) -> float:
    return percentile(times, 50)

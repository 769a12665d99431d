"""Measures each candidate of a stage: speed, size and correctness."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.load.samples import percentile
from benchmarks.runtimes import worker
from benchmarks.runtimes.plan import Candidate, Setup
from benchmarks.runtimes.worker_process import WorkerProcess, reason


@dataclass
class CandidateResult:
    """What was measured of one candidate.

    reason: why it failed; empty where it did not.
    cold, warm: seconds to open it, without and with the files that it keeps on disk.
    error: difference to eager float32; times: seconds of calls, by number of rows.
    files: PNGs that this UNet drew.
    """

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
    def recording_failure(self) -> Iterator[None]:
        """Records any error as the reason: a converter of another project may raise anything."""
        try:
            yield
        except Exception as failure:
            self.reason = reason(failure)


def measure(setup: Setup, stage: str, prompts: list[str]) -> list[CandidateResult]:
    """Measures all candidates of a stage in turns. prompts: to draw with each UNet."""
    found = [CandidateResult(candidate) for candidate in setup.plan.candidates(stage)]
    _open_cold(setup, found)
    usable = [one for one in found if not one.reason]
    with ExitStack() as stack:
        processes = [stack.enter_context(WorkerProcess(setup.plan.limit)) for _ in usable]
        wait(
            [process.ready for process in processes]
        )  # nothing is imported while something is timed
        pairs = list(zip(usable, processes, strict=True))
        for one, process in pairs:
            _open_warm(setup, one, process)
        for turn in range(1 + setup.plan.rounds):
            for one, process in pairs:
                _round(setup, one, process, counts=turn > 0)
        for one, process in pairs:
            if prompts and stage == "unet" and not one.reason:
                with one.recording_failure():
                    one.files = process(worker.draw_with_unet, setup, prompts)
    return found


def _open_cold(setup: Setup, found: list[CandidateResult]) -> None:
    """Opens each candidate without files on disk. One that fails gets the process replaced."""
    process = WorkerProcess(setup.plan.limit)
    for one in found:
        with one.recording_failure():
            opening = process(worker.open_candidate, setup, one.candidate, setup.threads, ())
            one.cold = opening.seconds
            one.disk_mb = disk_mb(setup.cache(one.candidate))
        if one.reason:
            process.close()
            process = WorkerProcess(setup.plan.limit)
    process.close()


def _open_warm(setup: Setup, one: CandidateResult, process: WorkerProcess) -> None:
    with one.recording_failure():
        rows = setup.plan.rows
        opening = process(worker.open_candidate, setup, one.candidate, setup.threads, rows)
        one.warm, one.peak_mb = opening.seconds, opening.peak_mb
        one.error = process(worker.error)


def _round(setup: Setup, one: CandidateResult, process: WorkerProcess, counts: bool) -> None:
    """Calls one candidate with each number of rows. The first round only prepares the shapes."""
    if one.reason:
        return
    with one.recording_failure():
        for rows in setup.plan.rows:
            seconds = process(worker.call, rows)
            if counts:
                one.times[rows].append(seconds)


def disk_mb(cache: Path) -> float:
    """Returns the size of the files that are read when a candidate is opened again.

    An int8 graph lies beside the graph that it was made from, and comes after it by name.
    """
    folders = sorted(cache.glob("runtimes/*/*/"), reverse=True)
    for folder in [*folders, cache / "inductor"]:
        if size := sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()):
            return size / 1e6
    return 0.0


def _median(times: list[float]) -> float:
    return percentile(times, 50)

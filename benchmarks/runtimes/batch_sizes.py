"""Measures the UNet with changing batch sizes, with and without padding to fixed ones."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks.runtimes import worker
from benchmarks.runtimes.plan import Candidate, Setup
from benchmarks.runtimes.worker_process import WorkerProcess, reason
from ray_stages.runtimes.padding import padded_rows

MAX_ROWS = 16
WARM_PASSES = 2


@dataclass
class Padding:
    """A sequence of random batch sizes, exact or padded.

    first, warm: milliseconds for each row before padding, when shapes come for the first time, and
    when all have come before.
    """

    label: str
    pads: bool
    first: float = 0.0
    warm: float = 0.0
    reason: str = ""


def paddings(setup: Setup) -> list[Padding]:
    """Measures all candidates in turns. The first pass prepares the shapes."""
    sizes = random_sizes(setup.plan.calls)
    found: list[Padding] = []
    with ExitStack() as stack:
        processes = []
        for candidate in setup.plan.usual_unets():
            for pads in (False, True):
                process = stack.enter_context(WorkerProcess(setup.plan.limit))
                processes.append(process)
                found.append(_first_pass(setup, candidate, pads, process, sizes))
        warm: list[list[float]] = [[] for _ in found]
        for _ in range(WARM_PASSES):
            for one, process, times in zip(found, processes, warm, strict=True):
                if not one.reason:
                    times.append(process(worker.sequence, sizes, one.pads))
    for one, times in zip(found, warm, strict=True):
        one.warm = 1000 * min(times, default=0.0) / sum(sizes)
    return found


def _first_pass(
    setup: Setup, candidate: Candidate, pads: bool, process: WorkerProcess, sizes: list[int]
) -> Padding:
    one = Padding(candidate.label, pads)
    try:
        process(worker.open_candidate, setup, candidate, setup.threads, sizes)
        one.first = 1000 * process(worker.sequence, sizes, pads) / sum(sizes)
    except Exception as failure:
        one.reason = reason(failure)
    return one


def random_sizes(count: int) -> list[int]:
    """Returns `count` batch sizes, the same each time."""
    rng = random.Random(0)
    return [rng.randint(1, MAX_ROWS) for _ in range(count)]


def added_share(sizes: Sequence[int]) -> float:
    """Returns the share of rows that padding adds."""
    return sum(map(padded_rows, sizes)) / sum(sizes) - 1

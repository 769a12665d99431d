"""Measures the UNet with several replicas on the same cores."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product
from typing import TypeVar

from benchmarks.runtimes import worker
from benchmarks.runtimes.plan import Candidate, Setup
from benchmarks.runtimes.worker_process import WorkerProcess, reason

ROWS = 8  # in each call of a replica

T = TypeVar("T")


@dataclass
class Rate:
    """rows: a second, of all replicas together; threads: of each replica."""

    label: str
    replicas: int
    threads: int
    rows: float = 0.0
    reason: str = ""


def rates(setup: Setup) -> Iterator[Rate]:
    """Measures replicas with an even share of the cores each, and with all cores each."""
    cores = os.cpu_count() or 1
    with ExitStack() as stack:
        most = max(setup.plan.replicas)
        processes = [stack.enter_context(WorkerProcess(setup.plan.limit)) for _ in range(most)]
        for candidate, replicas in product(setup.plan.usual_unets(), setup.plan.replicas):
            for threads in sorted({max(1, cores // replicas), cores}):
                rate = Rate(candidate.label, replicas, threads)
                try:
                    rate.rows = _rate(setup, candidate, processes[:replicas], threads)
                except Exception as failure:
                    rate.reason = reason(failure)
                yield rate


def _rate(
    setup: Setup, candidate: Candidate, processes: Sequence[WorkerProcess], threads: int
) -> float:
    def each(function: Callable[..., T], *arguments: object) -> list[T]:
        futures = [process.submit(function, *arguments) for process in processes]
        return [future.result(setup.plan.limit) for future in futures]

    each(worker.open_candidate, setup, candidate, threads, (ROWS,))
    each(worker.call, ROWS)
    return sum(each(worker.rate, ROWS, setup.plan.seconds))

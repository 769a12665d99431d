"""The UNet where it is not alone: replicas that share the cores, batch sizes that change."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product
from typing import TypeVar

from benchmarks.runtimes import work
from benchmarks.runtimes.child import Child, reason
from benchmarks.runtimes.plan import REFERENCE, Bench, Candidate
from ray_stages.runtimes.padding import padded_rows

ROWS = 8  # of a replica's call
MOST_ROWS = 16  # of a random batch
WARM_PASSES = 2
USUAL = (REFERENCE, "openvino/float32")

T = TypeVar("T")


@dataclass
class Rate:
    """rows: a second, of all replicas together; threads: of each."""

    label: str
    replicas: int
    threads: int
    rows: float = 0.0
    reason: str = ""


@dataclass
class Padding:
    """A random sequence of batch sizes. first, warm: milliseconds a row that was asked for, where
    shapes come for the first time and where none does."""

    label: str
    pads: bool
    first: float = 0.0
    warm: float = 0.0
    reason: str = ""


def rates(bench: Bench) -> Iterator[Rate]:
    """With an even share of the cores for each replica, and with all cores for each."""
    cores = os.cpu_count() or 1
    with ExitStack() as stack:
        most = max(bench.plan.replicas)
        children = [stack.enter_context(Child(bench.plan.limit)) for _ in range(most)]
        for candidate, replicas in product(_usual(bench), bench.plan.replicas):
            for threads in sorted({max(1, cores // replicas), cores}):
                rate = Rate(candidate.label, replicas, threads)
                try:
                    rate.rows = _rate(bench, candidate, children[:replicas], threads)
                except Exception as failure:
                    rate.reason = reason(failure)
                yield rate


def _rate(bench: Bench, candidate: Candidate, children: Sequence[Child], threads: int) -> float:
    def each(function: Callable[..., T], *arguments: object) -> list[T]:
        futures = [child.submit(function, *arguments) for child in children]
        return [future.result(bench.plan.limit) for future in futures]

    each(work.open_candidate, bench, candidate, threads, (ROWS,))
    each(work.call, ROWS)
    return sum(each(work.rate, ROWS, bench.plan.seconds))


def paddings(bench: Bench) -> list[Padding]:
    """The passes of all take turns; the first has the calls that prepare shapes."""
    sizes = random_sizes(bench.plan.calls)
    found: list[Padding] = []
    with ExitStack() as stack:
        children = []
        for candidate in _usual(bench):
            for pads in (False, True):
                child = stack.enter_context(Child(bench.plan.limit))
                children.append(child)
                found.append(_first_pass(bench, candidate, pads, child, sizes))
        warm: list[list[float]] = [[] for _ in found]
        for _ in range(WARM_PASSES):
            for one, child, times in zip(found, children, warm, strict=True):
                if not one.reason:
                    times.append(child(work.sequence, sizes, one.pads))
    for one, times in zip(found, warm, strict=True):
        one.warm = 1000 * min(times, default=0.0) / sum(sizes)
    return found


def _first_pass(
    bench: Bench, candidate: Candidate, pads: bool, child: Child, sizes: list[int]
) -> Padding:
    one = Padding(candidate.label, pads)
    try:
        child(work.open_candidate, bench, candidate, bench.threads, sizes)
        one.first = 1000 * child(work.sequence, sizes, pads) / sum(sizes)
    except Exception as failure:
        one.reason = reason(failure)
    return one


def random_sizes(count: int) -> list[int]:
    """The same each time."""
    rng = random.Random(0)
    return [rng.randint(1, MOST_ROWS) for _ in range(count)]


def added_share(sizes: Sequence[int]) -> float:
    """What padding adds to the rows."""
    return sum(map(padded_rows, sizes)) / sum(sizes) - 1


def _usual(bench: Bench) -> list[Candidate]:
    return [one for one in bench.plan.candidates("unet") if one.label in USUAL]

"""The requests of a load."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from benchmarks.load.requests import poisson_requests, random_requests

MIX = (10, 20, 30)


def test_a_trace_is_the_same_for_the_same_seed() -> None:
    assert poisson_requests([3], MIX, 5.0, 20.0) == poisson_requests([3], MIX, 5.0, 20.0)
    assert poisson_requests([3], MIX, 5.0, 20.0) != poisson_requests([4], MIX, 5.0, 20.0)


def test_another_rate_draws_the_same_pattern_together() -> None:
    slow, fast = poisson_requests([3], MIX, 2.0, 50.0), poisson_requests([3], MIX, 4.0, 25.0)
    assert [(w.prompt, w.seed, w.steps) for w in slow] == [
        (w.prompt, w.seed, w.steps) for w in fast
    ]
    assert [w.at for w in slow] == pytest.approx([2 * w.at for w in fast])


def test_arrivals_are_poisson() -> None:
    trace = poisson_requests([0], MIX, 10.0, 1000.0)
    gaps = np.diff([request.at for request in trace])
    assert len(trace) == pytest.approx(10_000, rel=0.05)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.05)
    assert {request.steps for request in trace} == set(MIX)


def test_wishes_differ() -> None:
    some = list(itertools.islice(random_requests([0], [20]), 200))
    assert (
        len({request.prompt for request in some}) == len({request.seed for request in some}) == 200
    )

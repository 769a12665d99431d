"""Closed and open loops of requests."""

from __future__ import annotations

import asyncio

from benchmarks.load.loops import GenerationFailed, GenerationResult, closed_loop, open_loop
from benchmarks.load.requests import GenerationRequest, random_requests
from benchmarks.load.samples import Measurement, Summary
from tests.support.benchmark_peers import draw_quickly


def test_a_closed_loop_sends_requests_until_the_time_is_over() -> None:
    samples = asyncio.run(
        closed_loop(draw_quickly, random_requests([0], [20]), clients=4, seconds=1)
    )
    assert len(samples) >= 8
    assert all(sample.latency >= 0.01 for sample in samples)


def test_every_client_of_a_closed_loop_sends_at_least_one_request() -> None:
    assert (
        len(
            asyncio.run(closed_loop(draw_quickly, random_requests([0], [20]), clients=3, seconds=0))
        )
        == 3
    )


def test_an_open_loop_does_not_wait_and_counts_from_when_a_request_was_due() -> None:
    lock = asyncio.Lock()

    async def one_at_a_time(request: GenerationRequest) -> GenerationResult:
        async with lock:
            return await draw_quickly(request)

    trace = [GenerationRequest("", i, 20, at=0.001 * i) for i in range(5)]
    latencies = [s.latency for s in asyncio.run(open_loop(one_at_a_time, trace))]
    assert latencies == sorted(latencies)
    assert latencies[-1] > 0.04


def test_a_failed_picture_is_counted() -> None:
    async def never(request: GenerationRequest) -> GenerationResult:
        raise GenerationFailed("no")

    samples = asyncio.run(open_loop(never, [GenerationRequest("", 0, 20)]))
    summary = Summary.of([Measurement("serve", "1 client", 0, 1.0, 0.0, samples)])
    assert (summary.pictures, summary.failed, summary.per_second) == (0, 1, 0.0)

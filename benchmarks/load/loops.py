"""Two ways to send requests: a closed loop of clients, and an open loop of timed arrivals."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.load.requests import GenerationRequest
from benchmarks.load.samples import Sample


class GenerationFailed(Exception):
    """A peer did not draw a picture; the message says why."""


@dataclass(frozen=True)
class GenerationResult:
    """A picture (PNG), and its times.

    first_step, first_preview: by `time.monotonic`, which all processes share on Linux.
    spans: seconds by model and queue.
    """

    png: bytes
    first_step: float
    spans: Mapping[str, float] = field(default_factory=dict)
    first_preview: float | None = None


DrawFunction = Callable[[GenerationRequest], Awaitable[GenerationResult]]


async def closed_loop(
    draw: DrawFunction, requests: Iterator[GenerationRequest], clients: int, seconds: float
) -> list[Sample]:
    """Each client sends its next request when it has a picture, and none after `seconds`."""
    begin = time.monotonic()
    samples: list[Sample] = []

    async def client() -> None:
        while True:
            now = time.monotonic()
            samples.append(await _sample(draw, next(requests), now, now - begin))
            if time.monotonic() - begin >= seconds:
                return

    await asyncio.gather(*(client() for _ in range(clients)))
    return samples


async def open_loop(draw: DrawFunction, trace: Sequence[GenerationRequest]) -> list[Sample]:
    """Sends each request at its time, and waits for no earlier one. Returns when all are done."""
    begin = time.monotonic()

    async def send(request: GenerationRequest) -> Sample:
        due = begin + request.at
        await asyncio.sleep(due - time.monotonic())
        return await _sample(draw, request, due, request.at)

    return await asyncio.gather(*map(send, trace))


async def _sample(draw: DrawFunction, request: GenerationRequest, due: float, at: float) -> Sample:
    """Times count from when a request was due: a client that falls behind must not look fast."""
    try:
        answer = await draw(request)
    except GenerationFailed as error:
        return Sample(at, request.steps, time.monotonic() - due, error=str(error) or "failed")
    preview = answer.first_preview
    return Sample(
        at=at,
        steps=request.steps,
        latency=time.monotonic() - due,
        wait=answer.first_step - due,
        preview=None if preview is None else preview - due,
        spans=answer.spans,
    )

"""How it is asked for: so many clients in a closed loop, or arrivals that wait for nobody."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.loads.samples import Sample
from benchmarks.loads.workload import Wish


class DrawFailed(Exception):
    """A picture did not come; the message says why."""


@dataclass(frozen=True)
class Answer:
    """A picture, and what its peer says of it.

    Times are of `time.monotonic`, which on Linux is the same clock in all processes.
    """

    png: bytes
    first_step: float
    spans: Mapping[str, float] = field(default_factory=dict)
    first_preview: float | None = None


Draw = Callable[[Wish], Awaitable[Answer]]


async def closed_loop(
    draw: Draw, wishes: Iterator[Wish], clients: int, seconds: float
) -> list[Sample]:
    """Each client asks for its next picture when it has the last; after `seconds`, for no more."""
    begin = time.monotonic()
    samples: list[Sample] = []

    async def client() -> None:
        while True:
            now = time.monotonic()
            samples.append(await _sample(draw, next(wishes), now, now - begin))
            if time.monotonic() - begin >= seconds:
                return

    await asyncio.gather(*(client() for _ in range(clients)))
    return samples


async def open_loop(draw: Draw, trace: Sequence[Wish]) -> list[Sample]:
    """Each wish at its time, whatever became of the ones before; returns when all are answered."""
    begin = time.monotonic()

    async def arrive(wish: Wish) -> Sample:
        due = begin + wish.at
        await asyncio.sleep(due - time.monotonic())
        return await _sample(draw, wish, due, wish.at)

    return await asyncio.gather(*map(arrive, trace))


async def _sample(draw: Draw, wish: Wish, due: float, at: float) -> Sample:
    """Counted from when it was due: a load that falls behind must not look fast."""
    try:
        answer = await draw(wish)
    except DrawFailed as error:
        return Sample(at, wish.steps, time.monotonic() - due, error=str(error) or "failed")
    preview = answer.first_preview
    return Sample(
        at=at,
        steps=wish.steps,
        latency=time.monotonic() - due,
        wait=answer.first_step - due,
        preview=None if preview is None else preview - due,
        spans=answer.spans,
    )

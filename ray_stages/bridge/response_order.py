"""Keeps the answers of a stream in order, though they are worked on side by side."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from ray_stages.errors import InvalidRequest

MOST_STREAMS = 4096
# An ensemble's come nearly in order; for one that never comes, nobody waits until the deadline.
COMING_SECONDS = 10.0


@dataclass
class Stream:
    come: set[int] = field(default_factory=set)
    passed: set[int] = field(default_factory=set)


class Turns:
    """A stream's members have numbers from 0; a stream that breaks off is forgotten in time."""

    def __init__(self) -> None:
        self._streams: dict[int, Stream] = {}
        self._moved = asyncio.Condition()

    @asynccontextmanager
    async def turn(
        self, stream: int, number: int, last: bool
    ) -> AsyncIterator[Callable[[], Awaitable[None]]]:
        """Gives what waits for all earlier numbers; on leaving, this one counts as passed."""
        own = self._streams.setdefault(stream, Stream())
        while len(self._streams) > MOST_STREAMS:
            del self._streams[next(iter(self._streams))]
        try:
            await self._move(own.come, number)
            yield lambda: self._wait(own, number)
        finally:
            if last:
                self._streams.pop(stream, None)
            await self._move(own.passed, number)

    async def _move(self, numbers: set[int], number: int) -> None:
        numbers.add(number)
        async with self._moved:
            self._moved.notify_all()

    async def _wait(self, own: Stream, number: int) -> None:
        earlier = range(number)
        async with self._moved:
            coming = self._moved.wait_for(lambda: own.come.issuperset(earlier))
            try:
                await asyncio.wait_for(coming, COMING_SECONDS)
            except asyncio.TimeoutError:
                raise InvalidRequest("sequence", number, "the earlier ones, too") from None
            await self._moved.wait_for(lambda: own.passed.issuperset(earlier))

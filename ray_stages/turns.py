"""Keeps the answers of a stream in order, though they are worked on side by side."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

MOST_STREAMS = 4096


class Turns:
    """A stream's members have numbers from 0; a stream that breaks off is forgotten in time."""

    def __init__(self) -> None:
        self._passed: dict[int, set[int]] = {}
        self._moved = asyncio.Condition()

    @asynccontextmanager
    async def turn(
        self, stream: int, number: int, last: bool
    ) -> AsyncIterator[Callable[[], Awaitable[None]]]:
        """Gives what waits for all earlier numbers; on leaving, this one counts as passed."""
        passed = self._passed.setdefault(stream, set())
        while len(self._passed) > MOST_STREAMS:
            del self._passed[next(iter(self._passed))]

        async def mine() -> None:
            async with self._moved:
                await self._moved.wait_for(lambda: passed.issuperset(range(number)))

        try:
            yield mine
        finally:
            passed.add(number)
            if last:
                self._passed.pop(stream, None)
            async with self._moved:
                self._moved.notify_all()

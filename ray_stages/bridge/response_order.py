"""Sends the responses of a stream in order, although its requests are processed concurrently."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from ray_stages.errors import InvalidRequest

MAX_STREAMS = 4096
# An ensemble's requests arrive nearly in order. Without a limit, a request whose predecessors never
# arrive would wait until its deadline.
ARRIVAL_TIMEOUT_SECONDS = 10.0


@dataclass
class StreamProgress:
    """Numbers of the requests of one stream."""

    arrived: set[int] = field(default_factory=set)
    finished: set[int] = field(default_factory=set)


class ResponseOrder:
    """Orders the responses of every stream of one bridge.

    The requests of a stream are numbered from 0. Of streams that never end only the latest
    MAX_STREAMS are kept.
    """

    def __init__(self) -> None:
        self._streams: dict[int, StreamProgress] = {}
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def in_order(
        self, stream: int, number: int, last: bool
    ) -> AsyncIterator[Callable[[], Awaitable[None]]]:
        """Yields a function that waits until all earlier requests of the stream have finished.

        On exit this request counts as finished, also after an error. The function raises
        InvalidRequest if the earlier requests do not arrive within ARRIVAL_TIMEOUT_SECONDS.
        """
        progress = self._streams.setdefault(stream, StreamProgress())
        while len(self._streams) > MAX_STREAMS:
            del self._streams[next(iter(self._streams))]
        try:
            await self._add(progress.arrived, number)
            yield lambda: self._wait_for_earlier(progress, number)
        finally:
            if last:
                self._streams.pop(stream, None)
            await self._add(progress.finished, number)

    async def _add(self, numbers: set[int], number: int) -> None:
        numbers.add(number)
        async with self._changed:
            self._changed.notify_all()

    async def _wait_for_earlier(self, progress: StreamProgress, number: int) -> None:
        earlier = range(number)
        async with self._changed:
            arrival = self._changed.wait_for(lambda: progress.arrived.issuperset(earlier))
            try:
                await asyncio.wait_for(arrival, ARRIVAL_TIMEOUT_SECONDS)
            except asyncio.TimeoutError:
                raise InvalidRequest("sequence", number, "the earlier ones, too") from None
            await self._changed.wait_for(lambda: progress.finished.issuperset(earlier))

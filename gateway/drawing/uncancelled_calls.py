"""gRPC calls of Triton that always run to their end.

Triton 2.51 may crash when a client cancels a call at the moment at which Triton answers it
(triton-inference-server/server#7368). So no call is cancelled: whoever no longer waits has Triton
cancel the request by its id, and the call ends by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable
from typing import Any, TypeVar

T = TypeVar("T")
END = object()


class UncancelledCalls:
    def __init__(self) -> None:
        self._running: set[asyncio.Future[Any]] = set()

    def start(self, call: Awaitable[T]) -> asyncio.Future[T]:
        """Runs a call in the background. An exception that nobody awaits is not logged."""
        task = asyncio.ensure_future(call)
        self._running.add(task)
        task.add_done_callback(self._discard)
        return task

    async def response(self, call: Awaitable[T]) -> T:
        """The call's response. The call goes on when the caller is cancelled."""
        return await asyncio.shield(self.start(call))

    async def responses(self, call: AsyncIterable[T]) -> AsyncGenerator[T, None]:
        """The responses of a stream, read at most one ahead of the caller.

        The call goes on, and its other responses are dropped, when the caller stops early.
        """
        queue: asyncio.Queue[Any] = asyncio.Queue(1)
        reading = self.start(_read(call, queue))
        try:
            while (response := await queue.get()) is not END:
                yield response
        except (asyncio.CancelledError, GeneratorExit):
            self.start(_drain(queue))
            raise
        await reading  # raises the call's exception, if any

    async def finish(self, seconds: float) -> None:
        """Waits for the running calls, at most so many seconds."""
        if self._running:
            await asyncio.wait(self._running, timeout=seconds)

    def _discard(self, task: asyncio.Future[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # else asyncio logs that it was never retrieved


async def _read(call: AsyncIterable[Any], queue: asyncio.Queue[Any]) -> None:
    try:
        async for response in call:
            await queue.put(response)
    finally:
        await queue.put(END)


async def _drain(queue: asyncio.Queue[Any]) -> None:
    while await queue.get() is not END:
        pass

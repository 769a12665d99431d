"""Calls of Triton that run to their end, whoever still listens.

Triton 2.51 may crash of a call that its client cancels in the moment in which it is answered
(triton-inference-server/server#7368). So who leaves has the request cancelled, by its id, and the
call is left to end by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable
from typing import Any, TypeVar

T = TypeVar("T")
END = object()


class Calls:
    def __init__(self) -> None:
        self._running: set[asyncio.Future[Any]] = set()

    def start(self, work: Awaitable[T]) -> asyncio.Future[T]:
        """In the background; what becomes of it is no news where nobody waits for it."""
        task = asyncio.ensure_future(work)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    async def answer(self, call: Awaitable[T]) -> T:
        return await asyncio.shield(self.start(call))

    async def answers(self, call: AsyncIterable[T]) -> AsyncGenerator[T, None]:
        """As they come; while nobody takes one, the next is not read."""
        read: asyncio.Queue[Any] = asyncio.Queue(1)
        reading = self.start(_read(call, read))
        try:
            while (answer := await read.get()) is not END:
                yield answer
        except (asyncio.CancelledError, GeneratorExit):
            self.start(_forget(read))
            raise
        await reading  # which raises what the call ended with

    async def finish(self, seconds: float) -> None:
        """Waits for what still runs, so long at most."""
        if self._running:
            await asyncio.wait(self._running, timeout=seconds)

    def _ended(self, task: asyncio.Future[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()


async def _read(call: AsyncIterable[Any], read: asyncio.Queue[Any]) -> None:
    try:
        async for answer in call:
            await read.put(answer)
    finally:
        await read.put(END)


async def _forget(read: asyncio.Queue[Any]) -> None:
    while await read.get() is not END:
        pass

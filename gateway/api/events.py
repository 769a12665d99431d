"""Server-sent events."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from fastapi.responses import StreamingResponse

from gateway.errors import Failed

PING_SECONDS = 5.0
PING = b": ping\n\n"
# Proxies may neither keep events nor collect them.
DOCUMENTED: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {}}}}
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}

Events = AsyncGenerator[bytes, None]


def event(name: str, data: Mapping[str, Any]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


async def respond(events: Events) -> StreamingResponse:
    """What fails before the first event is an answer with a status of its own."""
    begun = _with_pings(events)
    first = await begun.__anext__()
    return StreamingResponse(
        _to_the_end(first, begun), media_type="text/event-stream", headers=HEADERS
    )


async def _to_the_end(first: bytes, others: Events) -> Events:
    async with contextlib.aclosing(others):
        yield first
        try:
            async for one in others:
                yield one
        except Failed as failed:
            yield event("error", failed.document)


async def _with_pings(events: Events) -> Events:
    """So that nobody in between thinks the connection dead while a picture takes its time."""
    coming = asyncio.ensure_future(events.__anext__())
    try:
        while True:
            if not (await asyncio.wait({coming}, timeout=PING_SECONDS))[0]:
                yield PING
                continue
            try:
                yield coming.result()
            except StopAsyncIteration:
                return
            coming = asyncio.ensure_future(events.__anext__())
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)
        await events.aclose()

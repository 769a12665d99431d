"""Responses of server-sent events."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from fastapi.responses import StreamingResponse

from gateway.errors import ApiError

PING_SECONDS = 5.0
PING = b": ping\n\n"
EVENT_STREAM_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {}}}
}
# A proxy must neither store nor buffer events.
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}

Events = AsyncGenerator[bytes, None]


def format_event(name: str, data: Mapping[str, Any]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


async def event_stream_response(events: Events) -> StreamingResponse:
    """A response of formatted events.

    Waits for the first one: an error before it is raised, so that it gets a status of its own.
    """
    stream = _with_pings(events)
    first = await stream.__anext__()
    return StreamingResponse(
        _with_final_error(first, stream), media_type="text/event-stream", headers=HEADERS
    )


async def _with_final_error(first: bytes, others: Events) -> Events:
    """The events; an error among them ends the stream as an event `error`."""
    async with contextlib.aclosing(others):
        yield first
        try:
            async for event in others:
                yield event
        except ApiError as error:
            yield format_event("error", error.document)


async def _with_pings(events: Events) -> Events:
    """The events, with a comment in each long pause: proxies close silent connections."""
    next_event = asyncio.ensure_future(events.__anext__())
    try:
        while True:
            if not (await asyncio.wait({next_event}, timeout=PING_SECONDS))[0]:
                yield PING
                continue
            try:
                yield next_event.result()
            except StopAsyncIteration:
                return
            next_event = asyncio.ensure_future(events.__anext__())
    finally:
        next_event.cancel()
        await asyncio.gather(next_event, return_exceptions=True)
        await events.aclose()

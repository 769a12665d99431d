"""Limits of a request's body: its size, and the time that it may take to arrive."""

from __future__ import annotations

import time

import anyio
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.errors import ApiError


class BodyLimit:
    """Counts the bytes that arrive, whatever Content-Length says.

    Raises ApiError: 413 for a body over max_bytes, 408 for one that takes longer than seconds.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, seconds: float) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        length = Headers(scope=scope).get("content-length", "")
        if length.isdecimal() and int(length) > self._max_bytes:
            raise self._too_large()
        deadline = time.monotonic() + self._seconds
        size, complete = 0, False

        async def receive_limited() -> Message:
            nonlocal size, complete
            if complete:
                return await receive()
            try:
                # `asyncio.wait_for` loses a cancellation that comes together with a message,
                # before Python 3.12.
                with anyio.fail_after(deadline - time.monotonic()):
                    message = await receive()
            except TimeoutError:
                raise ApiError(408, f"the body took longer than {self._seconds:g} s") from None
            size += len(message.get("body", b""))
            complete = not message.get("more_body")
            if size > self._max_bytes:
                raise self._too_large()
            return message

        return await self._app(scope, receive_limited, send)

    def _too_large(self) -> ApiError:
        return ApiError(413, f"the body is over {self._max_bytes:,} bytes", code="body_too_large")

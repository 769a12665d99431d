"""No body is longer than the limit, whether it says how long it is or not, nor takes for ever."""

from __future__ import annotations

import asyncio
import time

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.errors import Failed


class BodyLimit:
    def __init__(self, app: ASGIApp, most: int, seconds: float) -> None:
        self._app = app
        self._most = most
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        said = Headers(scope=scope).get("content-length", "")
        if said.isdecimal() and int(said) > self._most:
            raise self._too_large()
        end = time.monotonic() + self._seconds
        size, over = 0, False

        async def limited() -> Message:
            nonlocal size, over
            if over:
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), end - time.monotonic())
            except asyncio.TimeoutError:
                raise Failed(408, f"the body took longer than {self._seconds:g} s") from None
            size += len(message.get("body", b""))
            over = not message.get("more_body")
            if size > self._most:
                raise self._too_large()
            return message

        return await self._app(scope, limited, send)

    def _too_large(self) -> Failed:
        return Failed(413, f"the body is over {self._most:,} bytes", code="body_too_large")

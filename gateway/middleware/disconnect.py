"""Cancels a request whose client disconnects before the response is complete."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class CancelOnDisconnect:
    """Reads at most one message ahead of the application, since ASGI tells a disconnect only so."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        messages: asyncio.Queue[Message] = asyncio.Queue(1)
        answered = asyncio.Event()

        async def send_noting_end(message: Message) -> None:
            if message["type"] == "http.response.body" and not message.get("more_body"):
                answered.set()
            await send(message)

        async def until_disconnect() -> None:
            while (message := await receive())["type"] != "http.disconnect":
                await messages.put(message)
            if answered.is_set():  # what follows a complete response is not cancelled
                await asyncio.Event().wait()

        watching = asyncio.ensure_future(until_disconnect())
        work = asyncio.ensure_future(self._app(scope, messages.get, send_noting_end))
        try:
            await asyncio.wait({work, watching}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (work, watching):
                task.cancel()
            await asyncio.wait({work, watching})
        if not work.cancelled():
            work.result()
        return None

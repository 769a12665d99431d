"""A client that leaves before its answer is whole ends the work on it."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class HangUp:
    """Reads ahead of the application, at most one message: else it could not see the end."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        messages: asyncio.Queue[Message] = asyncio.Queue(1)
        answered = asyncio.Event()

        async def tell(message: Message) -> None:
            if message["type"] == "http.response.body" and not message.get("more_body"):
                answered.set()
            await send(message)

        async def until_left() -> None:
            while (message := await receive())["type"] != "http.disconnect":
                await messages.put(message)
            if answered.is_set():  # what is done after the answer is not the client's affair
                await asyncio.Event().wait()

        watching = asyncio.ensure_future(until_left())
        work = asyncio.ensure_future(self._app(scope, messages.get, tell))
        try:
            await asyncio.wait({work, watching}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (work, watching):
                task.cancel()
            await asyncio.wait({work, watching})
        if not work.cancelled():
            work.result()
        return None

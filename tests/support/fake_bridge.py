"""Bridges between a stand-in for Triton and a stand-in for a Serve handle."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np

from ray_stages.bridge.response_order import Turns
from ray_stages.bridge.stage_handles import Link
from ray_stages.requests.stage_requests import StageResult, Ticket
from ray_stages.serving.cancellation import CancellableCalls
from ray_stages.settings import Settings
from tests.support import fake_triton_utils
from tests.support.fake_triton_utils import Request
from tests.support.request_tensors import CARD, texts

fake_triton_utils.install()

from ray_stages.bridge.bridge import Bridge  # noqa: E402
from ray_stages.bridge.metrics import StageMetrics  # noqa: E402
from ray_stages.bridge.stream import StreamBridge  # noqa: E402

Replica = Callable[[Ticket, Any], Any]  # gives what can be awaited, or gone through


class Response:
    def __init__(self, handle: Handle, answer: Any) -> None:
        self.handle, self.answer = handle, answer

    def __await__(self) -> Any:
        return self.answer.__await__()

    def __aiter__(self) -> Any:
        return self.answer.__aiter__()

    def cancel(self) -> None:
        self.handle.cancelled += 1


class Handle:
    """Calls `replica` as a Serve handle would, and knows what was called and cancelled."""

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self.calls: list[str] = []
        self.cancelled = 0

    def options(self, *, stream: bool, method_name: str) -> Handle:
        assert (stream, method_name) == (True, "stream")
        return self

    def remote(self, ticket: Ticket, request: Any) -> Response:
        self.calls.append(ticket.id)
        return Response(self, self.replica(ticket, request))


class FakeLinks:
    """Every generation is the same replica's."""

    def __init__(self, handle: Handle) -> None:
        self.handle = handle

    @asynccontextmanager
    async def to(self, generation: str) -> AsyncIterator[Link]:
        yield Link(generation or "current", self.handle, CARD)


class Connected:
    """Is made as `initialize` leaves a bridge, but with `replica` to call."""

    model: str
    links: Any

    def __init__(self, replica: Replica, **settings: Any) -> None:
        self.settings = Settings(**settings)
        self.metrics = StageMetrics(self.model)
        self.calls, self.turns = CancellableCalls(), Turns()
        self.in_flight = 0
        self.handle = Handle(replica)
        self.links = FakeLinks(self.handle)


class TextBridge(Connected, Bridge):
    stage = model = "text_encoder"


class UnetStreamBridge(Connected, StreamBridge):
    stage, model = "unet", "unet_stream"


async def replica(ticket: Ticket, request: Any) -> StageResult:
    return StageResult({"prompt_embeds": np.zeros((1, 77, 32), np.float32)}, 1.0, 2.0)


def slow(seconds: float) -> Replica:
    async def call(ticket: Ticket, request: Any) -> StageResult:
        await asyncio.sleep(seconds)
        return await replica(ticket, request)

    return call


def prompt(*prompts: str, **options: Any) -> Request:
    return Request({"prompt": texts(*(prompts or ("a star",)))}, **options)


def ask(bridge: Bridge, *requests: Request, cancel: str = "") -> list[Any]:
    """All at once; the one with the id `cancel` a little later no more.

    Returns the last response of each.
    """

    async def answer_all() -> None:
        answering = [asyncio.create_task(bridge._answer(request)) for request in requests]
        if cancel:
            await asyncio.sleep(0.05)
            assert bridge.calls.cancel(cancel)
        await asyncio.wait_for(asyncio.gather(*answering), 10)

    asyncio.run(answer_all())
    assert all(request.sender.over for request in requests)
    return [request.sender.sent[-1] for request in requests]

"""Bridges for unit tests: between a fake Triton and a fake Serve handle."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np

from ray_stages.bridge.response_order import ResponseOrder
from ray_stages.bridge.stage_handles import StageHandle
from ray_stages.requests.stage_requests import RequestContext, StageResult
from ray_stages.serving.cancellation import CancellableRequests
from ray_stages.settings import Settings
from tests.support import fake_triton_utils
from tests.support.fake_triton_utils import Request
from tests.support.request_tensors import CARD, texts

fake_triton_utils.install()

from ray_stages.bridge.bridge import Bridge  # noqa: E402
from ray_stages.bridge.metrics import StageMetrics  # noqa: E402
from ray_stages.bridge.stream import StreamBridge  # noqa: E402

# Stands for a replica's method: returns an awaitable, or an async iterator for streams.
Replica = Callable[[RequestContext, Any], Any]


class FakeServeResponse:
    def __init__(self, handle: FakeServeHandle, answer: Any) -> None:
        self.handle, self.answer = handle, answer

    def __await__(self) -> Any:
        return self.answer.__await__()

    def __aiter__(self) -> Any:
        return self.answer.__aiter__()

    def cancel(self) -> None:
        self.handle.cancelled += 1


class FakeServeHandle:
    """Calls `replica` as a Serve handle would, and counts calls and cancellations."""

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self.calls: list[str] = []
        self.cancelled = 0

    def options(self, *, stream: bool, method_name: str) -> FakeServeHandle:
        assert (stream, method_name) == (True, "stream")
        return self

    def remote(self, context: RequestContext, request: Any) -> FakeServeResponse:
        self.calls.append(context.id)
        return FakeServeResponse(self, self.replica(context, request))


class FakeStageHandles:
    """Uses one Serve handle for every generation."""

    def __init__(self, serve_handle: FakeServeHandle) -> None:
        self.serve_handle = serve_handle

    @asynccontextmanager
    async def use(self, generation: str) -> AsyncIterator[StageHandle]:
        yield StageHandle(generation or "current", self.serve_handle, CARD)


class Connected:
    """Mixin whose constructor leaves a bridge as `initialize` does, but connected to `replica`."""

    model: str
    handles: Any

    def __init__(self, replica: Replica, **settings: Any) -> None:
        self.settings = Settings(**settings)
        self.metrics = StageMetrics(self.model)
        self.cancellable, self.response_order = CancellableRequests(), ResponseOrder()
        self.in_flight = 0
        self.serve_handle = FakeServeHandle(replica)
        self.handles = FakeStageHandles(self.serve_handle)


class TextBridge(Connected, Bridge):
    stage = model = "text_encoder"


class UnetStreamBridge(Connected, StreamBridge):
    stage, model = "unet", "unet_stream"


async def working_replica(context: RequestContext, request: Any) -> StageResult:
    return StageResult({"prompt_embeds": np.zeros((1, 77, 32), np.float32)}, 1.0, 2.0)


def slow_replica(seconds: float) -> Replica:
    async def call(context: RequestContext, request: Any) -> StageResult:
        await asyncio.sleep(seconds)
        return await working_replica(context, request)

    return call


def prompt_request(*prompts: str, **options: Any) -> Request:
    return Request({"prompt": texts(*(prompts or ("a star",)))}, **options)


def answer_all(bridge: Bridge, *requests: Request, cancel: str = "") -> list[Any]:
    """Lets the bridge answer all requests concurrently; returns the last response of each.

    cancel: the id of a request to cancel shortly after the start.
    """

    async def main() -> None:
        answering = [asyncio.create_task(bridge._answer(request)) for request in requests]
        if cancel:
            await asyncio.sleep(0.05)
            assert bridge.cancellable.cancel(cancel)
        await asyncio.wait_for(asyncio.gather(*answering), 10)

    asyncio.run(main())
    assert all(request.sender.finished for request in requests)
    return [request.sender.sent[-1] for request in requests]

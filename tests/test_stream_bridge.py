"""A decoupled model: responses in order, numbered, and none twice when a replica dies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
from ray.exceptions import ActorDiedError

from ray_stages.cancellation import CancellableCalls
from ray_stages.request import DenoiseRequest, StageResult, Ticket
from ray_stages.settings import Settings
from ray_stages.turns import Turns
from tests import fake_triton
from tests.fake_triton import Request
from tests.test_request import CARD, embeds

fake_triton.install()

from ray_stages.metrics import StageMetrics  # noqa: E402
from ray_stages.stream_bridge import StreamBridge  # noqa: E402

Replica = Callable[[Ticket, DenoiseRequest], AsyncIterator[StageResult]]
OUTPUTS = ("step", "sequence", "is_final")


class Handle:
    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self.cancelled = 0

    def options(self, *, stream: bool, method_name: str) -> Handle:
        assert (stream, method_name) == (True, "stream")
        return self

    def remote(self, ticket: Ticket, request: DenoiseRequest) -> Any:
        handle = self

        class Results:
            def __aiter__(self) -> Any:
                return handle.replica(ticket, request).__aiter__()

            def cancel(self) -> None:
                handle.cancelled += 1

        return Results()


class Bridge(StreamBridge):
    stage = "unet"

    def __init__(self, replica: Replica) -> None:
        self.settings = Settings()
        self.model = "unet_stream"
        self.metrics = StageMetrics(self.model)
        self.calls, self.turns = CancellableCalls(), Turns()
        self.in_flight = 0
        self.card = CARD
        self.handle = Handle(replica)


def result(step: int, final: bool) -> StageResult:
    outputs = {"step": np.array([step], np.int32), "is_final": np.array([final])}
    return StageResult(outputs, 1.0, 2.0)


def ask(bridge: Bridge) -> list[Any]:
    request = Request(embeds(), outputs=OUTPUTS)
    asyncio.run(bridge._answer(request))
    assert request.sender.over
    return request.sender.sent


def test_every_preview_is_a_response_and_the_last_is_final() -> None:
    async def replica(ticket: Ticket, request: DenoiseRequest) -> AsyncIterator[StageResult]:
        for step in (2, 4, 6):
            yield result(step, final=step == 6)

    responses = [response.values() for response in ask(Bridge(replica))]
    assert [int(r["step"][0]) for r in responses] == [2, 4, 6]
    assert [r["sequence"][1:].tolist() for r in responses] == [[0, 0], [1, 0], [2, 1]]
    assert len({int(r["sequence"][0]) for r in responses}) == 1


def test_a_replica_that_dies_on_the_way_costs_no_preview_and_repeats_none() -> None:
    attempts = []

    async def replica(ticket: Ticket, request: DenoiseRequest) -> AsyncIterator[StageResult]:
        attempts.append(ticket.id)
        for step in (1, 2, 3):
            if step == 3 and len(attempts) == 1:
                raise ActorDiedError
            yield result(step, final=step == 3)

    responses = [response.values() for response in ask(Bridge(replica))]
    assert len(attempts) == 2
    assert [int(r["step"][0]) for r in responses] == [1, 2, 3]
    assert [int(r["sequence"][1]) for r in responses] == [0, 1, 2]


def test_an_error_on_the_way_ends_the_stream() -> None:
    async def replica(ticket: Ticket, request: DenoiseRequest) -> AsyncIterator[StageResult]:
        yield result(1, final=False)
        raise ZeroDivisionError

    first, last = ask(Bridge(replica))
    assert first.error is None
    assert last.error.code == "INTERNAL"


def test_cancel_ends_it_and_the_replica_hears_of_it() -> None:
    async def replica(ticket: Ticket, request: DenoiseRequest) -> AsyncIterator[StageResult]:
        yield result(1, final=False)
        await asyncio.sleep(30)

    bridge = Bridge(replica)
    request = Request(embeds(), outputs=OUTPUTS, id="mine")

    async def main() -> None:
        answering = asyncio.create_task(bridge._answer(request))
        await asyncio.sleep(0.05)
        bridge.calls.cancel("mine")
        await asyncio.wait_for(answering, 5)

    asyncio.run(main())
    assert request.sender.sent[-1].error is not None
    assert request.sender.sent[-1].error.code == "CANCELLED"
    assert bridge.handle.cancelled == 1

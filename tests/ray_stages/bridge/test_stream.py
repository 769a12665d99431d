"""Streams: numbered responses, in order, and none twice when a replica dies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
from ray.exceptions import ActorDiedError

from ray_stages.requests.stage_requests import RequestContext, StageResult
from tests.support.fake_bridge import (
    Replica,
    TextBridge,
    UnetStreamBridge,
    answer_all,
    slow_replica,
)
from tests.support.fake_triton_utils import Request, Sender
from tests.support.request_tensors import embeds, texts

OUTPUTS = ("step", "sequence", "is_final")


def result(step: int, final: bool) -> StageResult:
    outputs = {"step": np.array([step], np.int32), "is_final": np.array([final])}
    return StageResult(outputs, 1.0, 2.0)


def responses_of(replica: Replica) -> list[Any]:
    request = Request(embeds(), outputs=OUTPUTS)
    answer_all(UnetStreamBridge(replica), request)
    return request.sender.sent


def test_every_preview_is_a_response_and_the_last_is_final() -> None:
    async def replica(context: RequestContext, request: Any) -> AsyncIterator[StageResult]:
        for step in (2, 4, 6):
            yield result(step, final=step == 6)

    responses = [response.values() for response in responses_of(replica)]
    assert [int(r["step"][0]) for r in responses] == [2, 4, 6]
    assert [r["sequence"][1:].tolist() for r in responses] == [[0, 0], [1, 0], [2, 1]]
    assert len({int(r["sequence"][0]) for r in responses}) == 1


def test_when_a_replica_dies_no_preview_is_lost_or_repeated() -> None:
    attempts = []

    async def replica(context: RequestContext, request: Any) -> AsyncIterator[StageResult]:
        attempts.append(context.id)
        for step in (1, 2, 3):
            if step == 3 and len(attempts) == 1:
                raise ActorDiedError
            yield result(step, final=step == 3)

    responses = [response.values() for response in responses_of(replica)]
    assert len(attempts) == 2
    assert [int(r["step"][0]) for r in responses] == [1, 2, 3]
    assert [int(r["sequence"][1]) for r in responses] == [0, 1, 2]


def test_an_error_ends_the_stream() -> None:
    async def replica(context: RequestContext, request: Any) -> AsyncIterator[StageResult]:
        yield result(1, final=False)
        raise ZeroDivisionError

    first, last = responses_of(replica)
    assert first.error is None
    assert last.error.code == "INTERNAL"


def test_cancel_ends_the_stream_and_cancels_the_replicas_work() -> None:
    async def replica(context: RequestContext, request: Any) -> AsyncIterator[StageResult]:
        yield result(1, final=False)
        await asyncio.sleep(30)

    bridge = UnetStreamBridge(replica)
    (last,) = answer_all(bridge, Request(embeds(), outputs=OUTPUTS, id="mine"), cancel="mine")
    assert last.error.code == "CANCELLED"
    assert bridge.serve_handle.cancelled == 1


def test_requests_of_a_stream_are_answered_in_order_even_after_one_that_failed() -> None:
    out: list[bytes] = []

    def slower_for_earlier(context: RequestContext, request: Any) -> Any:
        return slow_replica(0.05 * (4 - int(request.prompts[0])))(context, request)

    class RecordingSender(Sender):
        def send(self, response: Any, flags: int) -> None:
            super().send(response, flags)
            out.extend(response.values().get("prompt", [b"refused"]))

    bridge = TextBridge(slower_for_earlier)
    requests = [
        Request(
            {
                "prompt": texts("" if number == 1 else str(number)),
                "sequence": np.array([7, number, number == 3]),
            },
            outputs=("prompt",),
            sender=RecordingSender(),
        )
        for number in range(4)
    ]
    answer_all(bridge, *requests)
    assert out == [b"refused", b"0", b"2", b"3"]

"""The bridge between a stand-in for Triton and a stand-in for a Serve handle."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ray.exceptions import ActorDiedError, RayTaskError
from ray.serve.exceptions import BackPressureError

from ray_stages.cancellation import CancellableCalls
from ray_stages.errors import InvalidRequest, RelayError
from ray_stages.request import StageResult, TextRequest, Ticket
from ray_stages.settings import Settings
from ray_stages.turns import Turns
from tests import fake_triton
from tests.fake_triton import Request, text
from tests.test_request import CARD

fake_triton.install()

from ray_stages.bridge import Bridge  # noqa: E402
from ray_stages.metrics import StageMetrics  # noqa: E402

Replica = Callable[[Ticket, TextRequest], Awaitable[StageResult]]
EMBEDS = np.zeros((1, 77, 32), np.float32)


class Handle:
    """Calls `replica` as a Serve handle would, and knows what was cancelled."""

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self.calls: list[str] = []
        self.cancelled = 0

    def remote(self, ticket: Ticket, request: TextRequest) -> Any:
        self.calls.append(ticket.id)
        handle = self

        class Response:
            def __await__(self) -> Any:
                return handle.replica(ticket, request).__await__()

            def cancel(self) -> None:
                handle.cancelled += 1

        return Response()


class TextBridge(Bridge):
    stage = "text_encoder"

    def __init__(self, replica: Replica, **settings: Any) -> None:
        self.settings = Settings(**settings)
        self.model = self.stage
        self.metrics = StageMetrics(self.model)
        self.calls = CancellableCalls()
        self.turns = Turns()
        self.in_flight = 0
        self.card = CARD
        self.handle = Handle(replica)


async def replica(ticket: Ticket, request: TextRequest) -> StageResult:
    return StageResult({"prompt_embeds": EMBEDS}, 1.0, 2.0)


def ask(bridge: TextBridge, *requests: Request) -> list[Any]:
    """All at once; returns the one response of each."""

    async def answer_all() -> None:
        await asyncio.gather(*(bridge._answer(request) for request in requests))

    asyncio.run(answer_all())
    return [request.sender.sent[0] for request in requests]


def prompt(*prompts: str, **options: Any) -> Request:
    return Request({"prompt": text(*(prompts or ("a star",)))}, **options)


def test_the_stages_that_follow_are_told_id_and_deadline() -> None:
    before = time.time()
    (response,) = ask(TextBridge(replica), prompt(id="mine", timeout_us=5_000_000))
    values = response.values()
    assert list(values) == ["prompt_embeds", "request_id", "deadline", "elapsed_ms"]
    assert values["request_id"].tolist() == [b"mine"]
    assert before + 5 <= values["deadline"][0] <= time.time() + 5
    assert values["elapsed_ms"].tolist() == [1.0, 2.0]


def test_only_what_is_asked_for_is_answered() -> None:
    (response,) = ask(TextBridge(replica), prompt(outputs=("elapsed_ms",)))
    assert list(response.values()) == ["elapsed_ms"]


def test_a_request_without_an_id_gets_one_and_a_strange_one_is_made_printable() -> None:
    unnamed, strange = ask(TextBridge(replica), prompt(), prompt(id="a\nb=c d"))
    assert len(unnamed.values()["request_id"][0]) == 32
    assert strange.values()["request_id"].tolist() == [b"a_b_c_d"]


@pytest.mark.parametrize("forged", [None, np.nan, np.inf, 1e308])
def test_no_request_waits_for_ever(forged: float | None) -> None:
    told = {} if forged is None else {"deadline": np.array([forged])}
    for timeout_us in (0, 10**12):
        request = Request({"prompt": text("a"), **told}, timeout_us=timeout_us)
        (response,) = ask(TextBridge(replica, max_seconds=60), request)
        assert 0 < response.values()["deadline"][0] - time.time() <= 60


def test_what_can_never_be_drawn_is_invalid_and_not_merely_too_much() -> None:
    (response,) = ask(TextBridge(replica, max_in_flight=2), prompt(*"abcdefghijklmnopqrstuvwxyz"))
    assert response.error.code == "INVALID_ARG"


def test_an_output_with_the_name_of_an_input_passes_it_on() -> None:
    (response,) = ask(TextBridge(replica), prompt("a star", outputs=("prompt",)))
    assert response.values()["prompt"].tolist() == [b"a star"]


def test_id_and_deadline_of_an_earlier_stage_win() -> None:
    deadline = np.array([time.time() + 9])
    told = {"prompt": text("a"), "request_id": text("first"), "deadline": deadline}
    (response,) = ask(TextBridge(replica), Request(told, id="own", timeout_us=1))
    assert response.values()["request_id"].tolist() == [b"first"]


def test_a_refusal_reaches_no_replica_and_harms_nobody_else() -> None:
    bridge = TextBridge(replica)
    refused, drawn = ask(bridge, prompt(""), prompt("a star"))
    assert refused.error.code == "INVALID_ARG"
    assert "prompt: got an empty prompt" in str(refused.error)
    assert drawn.error is None
    assert len(bridge.handle.calls) == 1
    assert bridge.in_flight == 0


def test_beyond_the_limit_requests_are_shed_at_once() -> None:
    async def slow(ticket: Ticket, request: TextRequest) -> StageResult:
        await asyncio.sleep(0.2)
        return await replica(ticket, request)

    bridge = TextBridge(slow, max_in_flight=3)
    responses = ask(bridge, prompt("a", "b"), prompt("c", "d"), prompt("e"))
    assert [response.error and response.error.code for response in responses] == [
        None,
        "UNAVAILABLE",
        None,
    ]
    assert "2 more on 2 pictures in flight, the limit is 3" in str(responses[1].error)
    assert len(bridge.handle.calls) == 2


def test_while_it_drains_only_what_was_accepted_goes_on(tmp_path: Path) -> None:
    drain_file = tmp_path / "draining"
    bridge = TextBridge(replica, drain_file=str(drain_file))
    assert ask(bridge, prompt())[0].error is None
    drain_file.touch()
    accepted = Request({"prompt": text("a"), "deadline": np.array([time.time() + 9])})
    refused, answered = ask(bridge, prompt(), accepted)
    assert refused.error.code == "UNAVAILABLE"
    assert "the server is stopping" in str(refused.error)
    assert answered.error is None


def test_the_deadline_cancels_the_call() -> None:
    async def stuck(ticket: Ticket, request: TextRequest) -> StageResult:
        await asyncio.sleep(30)
        raise AssertionError

    bridge = TextBridge(stuck)
    begin = time.monotonic()
    (response,) = ask(bridge, prompt(id="late", timeout_us=50_000))
    assert time.monotonic() - begin < 5
    assert response.error.code == "UNAVAILABLE"
    assert "the deadline of request late has passed" in str(response.error)
    assert bridge.handle.cancelled == 1


def test_the_client_that_hangs_up_ends_the_call() -> None:
    async def stuck(ticket: Ticket, request: TextRequest) -> StageResult:
        await asyncio.sleep(30)
        raise AssertionError

    bridge = TextBridge(stuck)
    request = prompt(id="gone")
    request.sender.cancelled = True
    (response,) = ask(bridge, request)
    assert response.error.code == "CANCELLED"
    assert "request gone was cancelled" in str(response.error)
    assert (bridge.handle.cancelled, bridge.in_flight) == (1, 0)


def test_a_request_is_cancelled_by_its_id_and_no_other() -> None:
    async def slow(ticket: Ticket, request: TextRequest) -> StageResult:
        await asyncio.sleep(0.2)
        return await replica(ticket, request)

    bridge = TextBridge(slow)
    requests = [prompt(id="mine"), prompt(id="other")]

    async def main() -> None:
        answering = [asyncio.create_task(bridge._answer(request)) for request in requests]
        await asyncio.sleep(0.05)
        assert bridge.calls.cancel("mine")
        await asyncio.gather(*answering)

    asyncio.run(main())
    mine, other = (request.sender.sent[0] for request in requests)
    assert mine.error
    assert mine.error.code == "CANCELLED"
    assert other.error is None
    assert bridge.handle.cancelled == 1
    assert bridge.in_flight == 0


def test_members_of_a_stream_are_answered_in_order_even_after_one_that_failed() -> None:
    out: list[bytes] = []

    async def uneven(ticket: Ticket, request: TextRequest) -> StageResult:
        await asyncio.sleep(0.05 * (4 - int(request.prompts[0])))
        return await replica(ticket, request)

    class Noted(fake_triton.Sender):
        def send(self, response: Any, flags: int) -> None:
            super().send(response, flags)
            out.extend(response.values().get("prompt", [b"refused"]))

    bridge = TextBridge(uneven)
    requests = [
        Request(
            {
                "prompt": text("" if number == 1 else str(number)),
                "sequence": np.array([7, number, number == 3]),
            },
            outputs=("prompt",),
            sender=Noted(),
        )
        for number in range(4)
    ]
    ask(bridge, *requests)
    assert out == [b"refused", b"0", b"2", b"3"]


def test_a_deadline_that_has_passed_before_is_not_waited_for() -> None:
    told = {"prompt": text("a"), "deadline": np.array([time.time() - 1])}
    (response,) = ask(TextBridge(replica), Request(told))
    assert "deadline" in str(response.error)


def dying(times: int) -> Replica:
    left = [times]

    async def call(ticket: Ticket, request: TextRequest) -> StageResult:
        left[0] -= 1
        if left[0] >= 0:
            raise ActorDiedError
        return await replica(ticket, request)

    return call


def test_a_dead_replica_costs_a_retry() -> None:
    bridge = TextBridge(dying(2))
    (response,) = ask(bridge, prompt(id="x"))
    assert response.error is None
    assert bridge.handle.calls == ["x", "x", "x"]


def test_retries_are_bounded() -> None:
    bridge = TextBridge(dying(99), attempts=2)
    (response,) = ask(bridge, prompt())
    assert response.error.code == "UNAVAILABLE"
    assert "no replica left in 2 attempts" in str(response.error)
    assert len(bridge.handle.calls) == 2


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (BackPressureError(1, 1), "UNAVAILABLE", "queue is full"),
        (ZeroDivisionError("secret prompt"), "INTERNAL", "text_encoder failed; its log knows"),
        (
            RayTaskError("f", "traceback", InvalidRequest("steps", 60, "at most 50")),
            "INVALID_ARG",
            "steps: got 60, expected at most 50",
        ),
    ],
)
def test_errors_have_their_code_and_bugs_are_not_told(
    error: Exception, code: str, message: str
) -> None:
    async def failing(ticket: Ticket, request: TextRequest) -> StageResult:
        raise error

    bridge = TextBridge(failing)
    (response,) = ask(bridge, prompt())
    assert response.error.code == code
    assert message in str(response.error)
    assert "secret" not in str(response.error)


def test_an_unreadable_request_is_answered_too() -> None:
    class Unreadable(Request):
        def inputs(self) -> list[Any]:
            raise UnicodeError("broken tensor")

    (response,) = ask(TextBridge(replica), Unreadable({}))
    assert response.error.code == "INTERNAL"


def test_log_lines_have_ids_and_numbers_but_no_prompts() -> None:
    fake_triton.Logger.lines.clear()
    ask(TextBridge(replica), prompt("a private wish", id="r1"), prompt("", id="r2"))
    lines = {line.split()[1]: line for line in fake_triton.Logger.lines}
    assert "request_id=r1 shapes=prompt:1" in lines["event=request"]
    assert "request_id=r1 ms=" in lines["event=response"]
    assert "bytes=9856" in lines["event=response"]
    assert "request_id=r2 kind=invalid code=INVALID_ARG" in lines["event=failure"]
    assert "private" not in str(lines)


def test_metrics_count_requests_and_failures_by_kind() -> None:
    bridge = TextBridge(replica)
    ask(bridge, prompt(), prompt(""), prompt(""))
    assert bridge.metrics._requests.value == 3
    assert bridge.metrics._failures["invalid"].value == 2
    assert set(bridge.metrics._failures) == {error.kind for error in RelayError.__subclasses__()}
    assert bridge.metrics._in_flight.value == 0

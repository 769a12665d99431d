"""How a bridge checks and forwards a request, and answers with the stage's result or error."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ray.exceptions import ActorDiedError, RayTaskError
from ray.serve.exceptions import BackPressureError

from ray_stages.bridge.triton_request import printable
from ray_stages.errors import InvalidRequest, RelayError
from ray_stages.requests.stage_requests import RequestContext, StageResult
from tests.support import fake_triton_utils
from tests.support.fake_bridge import (
    Replica,
    TextBridge,
    answer_all,
    prompt_request,
    slow_replica,
    working_replica,
)
from tests.support.fake_triton_utils import Request
from tests.support.request_tensors import texts


def test_a_response_carries_id_and_deadline_for_the_later_stages() -> None:
    before = time.time()
    (response,) = answer_all(
        TextBridge(working_replica), prompt_request(id="mine", timeout_us=5_000_000)
    )
    values = response.values()
    assert list(values) == ["prompt_embeds", "request_id", "deadline", "elapsed_ms"]
    assert values["request_id"].tolist() == [b"mine"]
    assert before + 5 <= values["deadline"][0] <= time.time() + 5
    assert values["elapsed_ms"].tolist() == [1.0, 2.0]


def test_only_requested_outputs_are_sent() -> None:
    (response,) = answer_all(TextBridge(working_replica), prompt_request(outputs=("elapsed_ms",)))
    assert list(response.values()) == ["elapsed_ms"]


def test_a_request_without_an_id_gets_one_and_a_strange_one_is_made_printable() -> None:
    unnamed, strange = answer_all(
        TextBridge(working_replica), prompt_request(), prompt_request(id="a\nb=c d")
    )
    assert len(unnamed.values()["request_id"][0]) == 32
    assert re.fullmatch(rb"a_b_c_d~[0-9a-f]{16}", strange.values()["request_id"][0])


@pytest.mark.parametrize(
    ("one", "other"), [("job 1", "job_1"), ("x" * 70 + "a", "x" * 70 + "b"), ("a\n", "a\r")]
)
def test_two_request_ids_never_become_one(one: str, other: str) -> None:
    names = printable(one), printable(other)
    assert names[0] != names[1]
    assert max(map(len, names)) <= 64
    assert tuple(map(printable, names)) == names  # a later stage is told the first one's name


@pytest.mark.parametrize("forged", [None, np.nan, np.inf, 1e308])
def test_no_deadline_is_later_than_max_seconds(forged: float | None) -> None:
    passed_on = {} if forged is None else {"deadline": np.array([forged])}
    for timeout_us in (0, 10**12):
        request = Request({"prompt": texts("a"), **passed_on}, timeout_us=timeout_us)
        (response,) = answer_all(TextBridge(working_replica, max_seconds=60), request)
        assert 0 < response.values()["deadline"][0] - time.time() <= 60


def test_a_request_that_is_always_too_large_is_invalid_and_not_overload() -> None:
    (response,) = answer_all(
        TextBridge(working_replica, max_in_flight=2), prompt_request(*"abcdefghijklmnopqrstuvwxyz")
    )
    assert response.error.code == "INVALID_ARG"


def test_an_output_with_the_name_of_an_input_passes_it_on() -> None:
    (response,) = answer_all(
        TextBridge(working_replica), prompt_request("a star", outputs=("prompt",))
    )
    assert response.values()["prompt"].tolist() == [b"a star"]


def test_id_and_deadline_of_an_earlier_stage_win() -> None:
    deadline = np.array([time.time() + 9])
    passed_on = {"prompt": texts("a"), "request_id": texts("first"), "deadline": deadline}
    (response,) = answer_all(
        TextBridge(working_replica), Request(passed_on, id="own", timeout_us=1)
    )
    assert response.values()["request_id"].tolist() == [b"first"]


def test_an_invalid_request_reaches_no_replica_and_affects_no_other() -> None:
    bridge = TextBridge(working_replica)
    refused, drawn = answer_all(bridge, prompt_request(""), prompt_request("a star"))
    assert refused.error.code == "INVALID_ARG"
    assert "prompt: got an empty prompt" in str(refused.error)
    assert drawn.error is None
    assert len(bridge.serve_handle.calls) == 1
    assert bridge.in_flight == 0


def test_beyond_the_limit_requests_are_refused_at_once() -> None:
    bridge = TextBridge(slow_replica(0.2), max_in_flight=3)
    responses = answer_all(
        bridge, prompt_request("a", "b"), prompt_request("c", "d"), prompt_request("e")
    )
    codes = [response.error and response.error.code for response in responses]
    assert codes == [None, "UNAVAILABLE", None]
    assert "2 more on 2 pictures in flight, the limit is 3" in str(responses[1].error)
    assert len(bridge.serve_handle.calls) == 2


def test_while_it_drains_only_accepted_requests_go_on(tmp_path: Path) -> None:
    drain_file = tmp_path / "draining"
    bridge = TextBridge(working_replica, drain_file=str(drain_file))
    assert answer_all(bridge, prompt_request())[0].error is None
    drain_file.touch()
    accepted = Request({"prompt": texts("a"), "deadline": np.array([time.time() + 9])})
    refused, answered = answer_all(bridge, prompt_request(), accepted)
    assert refused.error.code == "UNAVAILABLE"
    assert "the server is stopping" in str(refused.error)
    assert answered.error is None


def dying_replica(times: int) -> Replica:
    left = [times]

    async def call(context: RequestContext, request: Any) -> StageResult:
        left[0] -= 1
        if left[0] >= 0:
            raise ActorDiedError
        return await working_replica(context, request)

    return call


def test_a_dead_replica_costs_a_retry() -> None:
    bridge = TextBridge(dying_replica(2))
    (response,) = answer_all(bridge, prompt_request(id="x"))
    assert response.error is None
    assert bridge.serve_handle.calls == ["x", "x", "x"]


def test_retries_are_bounded() -> None:
    bridge = TextBridge(dying_replica(99), attempts=2)
    (response,) = answer_all(bridge, prompt_request())
    assert response.error.code == "UNAVAILABLE"
    assert "no replica left in 2 attempts" in str(response.error)
    assert len(bridge.serve_handle.calls) == 2


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
def test_errors_have_their_code_and_details_of_bugs_stay_private(
    error: Exception, code: str, message: str
) -> None:
    async def failing(context: RequestContext, request: Any) -> StageResult:
        raise error

    bridge = TextBridge(failing)
    (response,) = answer_all(bridge, prompt_request())
    assert response.error.code == code
    assert message in str(response.error)
    assert "secret" not in str(response.error)


def test_error_codes_precede_the_message_if_the_client_wants_them() -> None:
    answers = answer_all(
        TextBridge(working_replica),
        Request({"prompt": texts("")}, parameters_json='{"error_codes":true,"x":1}'),
        Request({"prompt": texts("")}, parameters_json='{"error_codes":false}'),
    )
    coded, plain = (str(answer.error) for answer in answers)
    assert coded == f"[INVALID_ARGUMENT] {plain}"
    assert plain.startswith("prompt: got")


def test_an_unreadable_request_is_answered_too() -> None:
    class Unreadable(Request):
        def inputs(self) -> list[Any]:
            raise UnicodeError("broken tensor")

    (response,) = answer_all(TextBridge(working_replica), Unreadable({}))
    assert response.error.code == "INTERNAL"


def test_log_lines_have_ids_and_numbers_but_no_prompts() -> None:
    fake_triton_utils.Logger.lines.clear()
    answer_all(
        TextBridge(working_replica),
        prompt_request("a private wish", id="r1"),
        prompt_request("", id="r2"),
    )
    lines = {line.split()[1]: line for line in fake_triton_utils.Logger.lines}
    assert "request_id=r1 shapes=prompt:1" in lines["event=request"]
    assert "request_id=r1 ms=" in lines["event=response"]
    assert "bytes=9856" in lines["event=response"]
    assert "request_id=r2 kind=invalid code=INVALID_ARG" in lines["event=failure"]
    assert "private" not in str(lines)


def test_metrics_count_requests_and_failures_by_kind() -> None:
    bridge = TextBridge(working_replica)
    answer_all(bridge, prompt_request(), prompt_request(""), prompt_request(""))
    assert bridge.metrics._requests.value == 3
    assert bridge.metrics._failures["invalid"].value == 2
    assert set(bridge.metrics._failures) == {error.kind for error in RelayError.__subclasses__()}
    assert bridge.metrics._in_flight.value == 0

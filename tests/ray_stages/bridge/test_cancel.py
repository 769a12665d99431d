"""What ends a request before its answer: its deadline, its client, or a cancel."""

from __future__ import annotations

import time

import numpy as np

from tests.support.fake_bridge import (
    TextBridge,
    answer_all,
    prompt_request,
    slow_replica,
    working_replica,
)
from tests.support.fake_triton_utils import Request
from tests.support.request_tensors import texts


def test_the_deadline_cancels_the_call() -> None:
    bridge = TextBridge(slow_replica(30))
    begin = time.monotonic()
    (response,) = answer_all(bridge, prompt_request(id="late", timeout_us=50_000))
    assert time.monotonic() - begin < 5
    assert response.error.code == "UNAVAILABLE"
    assert "the deadline of request late has passed" in str(response.error)
    assert bridge.serve_handle.cancelled == 1


def test_a_request_whose_deadline_has_passed_is_refused_at_once() -> None:
    passed_on = {"prompt": texts("a"), "deadline": np.array([time.time() - 1])}
    (response,) = answer_all(TextBridge(working_replica), Request(passed_on))
    assert "deadline" in str(response.error)


def test_a_client_that_disconnects_cancels_the_call() -> None:
    bridge = TextBridge(slow_replica(30))
    request = prompt_request(id="gone")
    request.sender.cancelled = True
    (response,) = answer_all(bridge, request)
    assert response.error.code == "CANCELLED"
    assert "request gone was cancelled" in str(response.error)
    assert (bridge.serve_handle.cancelled, bridge.in_flight) == (1, 0)


def test_a_request_is_cancelled_by_its_id_and_no_other() -> None:
    bridge = TextBridge(slow_replica(0.2))
    mine, other = answer_all(
        bridge, prompt_request(id="mine"), prompt_request(id="other"), cancel="mine"
    )
    assert mine.error.code == "CANCELLED"
    assert other.error is None
    assert (bridge.serve_handle.cancelled, bridge.in_flight) == (1, 0)

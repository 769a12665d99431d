"""What ends a request before its answer: its deadline, its client, or a cancel."""

from __future__ import annotations

import time

import numpy as np

from tests.support.fake_bridge import TextBridge, ask, prompt, replica, slow
from tests.support.fake_triton_utils import Request
from tests.support.request_tensors import texts


def test_the_deadline_cancels_the_call() -> None:
    bridge = TextBridge(slow(30))
    begin = time.monotonic()
    (response,) = ask(bridge, prompt(id="late", timeout_us=50_000))
    assert time.monotonic() - begin < 5
    assert response.error.code == "UNAVAILABLE"
    assert "the deadline of request late has passed" in str(response.error)
    assert bridge.handle.cancelled == 1


def test_a_deadline_that_has_passed_before_is_not_waited_for() -> None:
    told = {"prompt": texts("a"), "deadline": np.array([time.time() - 1])}
    (response,) = ask(TextBridge(replica), Request(told))
    assert "deadline" in str(response.error)


def test_the_client_that_hangs_up_ends_the_call() -> None:
    bridge = TextBridge(slow(30))
    request = prompt(id="gone")
    request.sender.cancelled = True
    (response,) = ask(bridge, request)
    assert response.error.code == "CANCELLED"
    assert "request gone was cancelled" in str(response.error)
    assert (bridge.handle.cancelled, bridge.in_flight) == (1, 0)


def test_a_request_is_cancelled_by_its_id_and_no_other() -> None:
    bridge = TextBridge(slow(0.2))
    mine, other = ask(bridge, prompt(id="mine"), prompt(id="other"), cancel="mine")
    assert mine.error.code == "CANCELLED"
    assert other.error is None
    assert (bridge.handle.cancelled, bridge.in_flight) == (1, 0)

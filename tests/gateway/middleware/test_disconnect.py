"""A client that leaves ends the work, over a real socket."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.fake_triton_server import FakeTriton
from tests.support.gateways import Front
from tests.support.waiting import wait_until


def send(front: Front, body: dict[str, Any], *headers: str) -> socket.socket:
    text = json.dumps(body)
    head = (
        "POST /v1/images/generations HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/json",
        f"Content-Length: {len(text)}",
        *headers,
    )
    connection = front.socket()
    connection.sendall(("\r\n".join(head) + "\r\n\r\n" + text).encode())
    return connection


def ends_by_itself(drawing: FakeTriton) -> None:
    """The call of Triton: one that its client cancels may end a real one, now and then."""
    drawing.go_on.set()
    assert wait_until(lambda: drawing.ended.get(drawing.seen[0].id))
    time.sleep(0.1)
    assert drawing.ended[drawing.seen[0].id]


@pytest.mark.parametrize(
    "body",
    [{"prompt": "a"}, {"prompt": "a", "stream": True, "partial_images": 3}],
    ids=["plain", "stream"],
)
def test_a_client_that_leaves(front: Front, drawing: FakeTriton, body: dict[str, Any]) -> None:
    drawing.go_on.clear()
    connection = send(front, body)
    assert wait_until(lambda: drawing.seen)
    connection.close()
    assert wait_until(lambda: drawing.cancelled == [drawing.seen[0].id])
    ends_by_itself(drawing)


def test_a_client_that_leaves_between_two_previews(front: Front, drawing: FakeTriton) -> None:
    drawing.hold_at = 3
    drawing.go_on.clear()
    connection = send(front, {"prompt": "a", "stream": True, "partial_images": 3, "steps": 8})
    assert b"200 OK" in connection.recv(1000)
    connection.close()
    assert wait_until(lambda: drawing.cancelled == [drawing.seen[0].id])
    ends_by_itself(drawing)


def test_a_client_that_leaves_an_imagined_picture(front: Front, drawing: FakeTriton) -> None:
    drawing.go_on.clear()
    connection = front.socket()
    connection.sendall(b"GET /imagine?prompt=a HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert wait_until(lambda: drawing.seen)
    connection.close()
    assert wait_until(lambda: drawing.cancelled)


def test_who_stays_is_not_cancelled(front: Front, drawing: FakeTriton) -> None:
    for _ in range(3):
        assert front.http.get("/imagine", params={"prompt": "a"}).status_code == 200
    assert not drawing.cancelled


def test_room_is_made_for_others(open_front: Callable[..., Front], drawing: FakeTriton) -> None:
    front = open_front(concurrent_requests=1)
    drawing.go_on.clear()
    connection = send(front, {"prompt": "a"})
    assert wait_until(lambda: drawing.seen)
    assert front.http.get("/imagine", params={"prompt": "b"}).status_code == 429
    connection.close()
    assert wait_until(lambda: drawing.cancelled)
    drawing.go_on.set()
    assert wait_until(lambda: front.http.get("/imagine", params={"prompt": "b"}).status_code == 200)


def test_with_a_key_that_was_used_a_retry_draws(front: Front, drawing: FakeTriton) -> None:
    """Who left before the answer gets it by asking again."""
    drawing.go_on.clear()
    connection = send(front, {"prompt": "a", "seed": 1}, "Idempotency-Key: one")
    assert wait_until(lambda: drawing.seen)
    connection.close()
    assert wait_until(lambda: drawing.cancelled)
    drawing.go_on.set()
    again = front.http.post(
        "/v1/images/generations",
        content=json.dumps({"prompt": "a", "seed": 1}),
        headers={"Idempotency-Key": "one", "Content-Type": "application/json"},
    )
    assert again.status_code == 200

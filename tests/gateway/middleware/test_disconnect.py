"""A client that disconnects has its request cancelled. Over a real socket."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.fake_triton_server import FakeTriton
from tests.support.gateways import RunningGateway
from tests.support.waiting import wait_until


def send(gateway: RunningGateway, body: dict[str, Any], *headers: str) -> socket.socket:
    text = json.dumps(body)
    head = (
        "POST /v1/images/generations HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/json",
        f"Content-Length: {len(text)}",
        *headers,
    )
    connection = gateway.socket()
    connection.sendall(("\r\n".join(head) + "\r\n\r\n" + text).encode())
    return connection


def assert_call_ends_by_itself(fake_triton: FakeTriton) -> None:
    """The gRPC call is not cancelled, since that can crash a real Triton."""
    fake_triton.proceed.set()
    assert wait_until(lambda: fake_triton.client_present_at_end.get(fake_triton.requests[0].id))
    time.sleep(0.1)
    assert fake_triton.client_present_at_end[fake_triton.requests[0].id]


@pytest.mark.parametrize(
    "body",
    [{"prompt": "a"}, {"prompt": "a", "stream": True, "partial_images": 3}],
    ids=["plain", "stream"],
)
def test_a_client_that_leaves(
    gateway: RunningGateway, fake_triton: FakeTriton, body: dict[str, Any]
) -> None:
    fake_triton.proceed.clear()
    connection = send(gateway, body)
    assert wait_until(lambda: fake_triton.requests)
    connection.close()
    assert wait_until(lambda: fake_triton.cancelled_ids == [fake_triton.requests[0].id])
    assert_call_ends_by_itself(fake_triton)


def test_a_client_that_leaves_between_two_previews(
    gateway: RunningGateway, fake_triton: FakeTriton
) -> None:
    fake_triton.hold_at = 3
    fake_triton.proceed.clear()
    connection = send(gateway, {"prompt": "a", "stream": True, "partial_images": 3, "steps": 8})
    assert b"200 OK" in connection.recv(1000)
    connection.close()
    assert wait_until(lambda: fake_triton.cancelled_ids == [fake_triton.requests[0].id])
    assert_call_ends_by_itself(fake_triton)


def test_a_client_that_leaves_an_imagined_picture(
    gateway: RunningGateway, fake_triton: FakeTriton
) -> None:
    fake_triton.proceed.clear()
    connection = gateway.socket()
    connection.sendall(b"GET /imagine?prompt=a HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert wait_until(lambda: fake_triton.requests)
    connection.close()
    assert wait_until(lambda: fake_triton.cancelled_ids)


def test_a_client_that_stays_is_not_cancelled(
    gateway: RunningGateway, fake_triton: FakeTriton
) -> None:
    for _ in range(3):
        assert gateway.http.get("/imagine", params={"prompt": "a"}).status_code == 200
    assert not fake_triton.cancelled_ids


def test_a_cancelled_request_no_longer_counts_as_in_flight(
    start_gateway: Callable[..., RunningGateway], fake_triton: FakeTriton
) -> None:
    gateway = start_gateway(concurrent_requests=1)
    fake_triton.proceed.clear()
    connection = send(gateway, {"prompt": "a"})
    assert wait_until(lambda: fake_triton.requests)
    assert gateway.http.get("/imagine", params={"prompt": "b"}).status_code == 429
    connection.close()
    assert wait_until(lambda: fake_triton.cancelled_ids)
    fake_triton.proceed.set()
    assert wait_until(
        lambda: gateway.http.get("/imagine", params={"prompt": "b"}).status_code == 200
    )


def test_a_retry_after_a_disconnect_draws(gateway: RunningGateway, fake_triton: FakeTriton) -> None:
    """A client that left before its answer gets it by asking again."""
    fake_triton.proceed.clear()
    connection = send(gateway, {"prompt": "a", "seed": 1}, "Idempotency-Key: one")
    assert wait_until(lambda: fake_triton.requests)
    connection.close()
    assert wait_until(lambda: fake_triton.cancelled_ids)
    fake_triton.proceed.set()
    again = gateway.http.post(
        "/v1/images/generations",
        content=json.dumps({"prompt": "a", "seed": 1}),
        headers={"Idempotency-Key": "one", "Content-Type": "application/json"},
    )
    assert again.status_code == 200

"""Bodies that are too long, too slow or malformed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.support.fake_triton_server import FakeTriton
from tests.support.gateways import RunningGateway

GENERATIONS = "/v1/images/generations"
JSON = {"Content-Type": "application/json"}


def chunks(size: int) -> Iterator[bytes]:
    for _ in range(0, size, 1000):
        yield b" " * 1000


@pytest.mark.parametrize("path", [GENERATIONS, "/v1/jobs"])
@pytest.mark.parametrize("again", [{}, {"Idempotency-Key": "one"}])
def test_a_body_that_is_too_long(
    start_gateway: Callable[..., RunningGateway], path: str, again: dict[str, str]
) -> None:
    """With and without Content-Length."""
    gateway = start_gateway(max_body_bytes=100_000)
    for body in (b" " * 200_000, chunks(200_000)):
        answer = gateway.http.post(path, content=body, headers={**JSON, **again})
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")


def test_a_form_that_is_too_long(start_gateway: Callable[..., RunningGateway]) -> None:
    gateway = start_gateway(max_body_bytes=100_000)
    answer = gateway.http.post(
        "/v1/images/edits", data={"prompt": "a"}, files={"image": b"x" * 200_000}
    )
    assert answer.status_code == 413


def test_a_body_that_never_ends(start_gateway: Callable[..., RunningGateway]) -> None:
    gateway = start_gateway(body_seconds=0.3)
    connection = gateway.socket()
    connection.sendall(
        b"POST /v1/images/generations HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    )
    assert b" 408 " in connection.recv(1000)


MALFORMED_BODIES = (
    b"",
    b"{",
    b"[]",
    b"null",
    b'"a"',
    b"\xff\xfe",
    b"[" * 50_000,
    b'{"a":' * 50_000,
    b'{"prompt": 3}',
    b'{"prompt": null}',
    b'{"prompt": ["a"]}',
    b'{"prompt": "\\ud800"}',
    b'{"prompt": "a", "guidance_scale": NaN}',
    b'{"prompt": "a", "guidance_scale": 1e999}',
    b'{"prompt": "a", "steps": 99999999999999999999}',
    b'{"prompt": "a", "seed": -1}',
    b'{"prompt": "a", "size": "0x"}',
    b'{"prompt": "a", "size": "99999999x1"}',
    b'{"prompt": "a", "n": 1e9}',
)


@pytest.mark.parametrize("path", [GENERATIONS, "/v1/jobs"])
def test_malformed_bodies(gateway: RunningGateway, fake_triton: FakeTriton, path: str) -> None:
    for body in MALFORMED_BODIES:
        answer = gateway.http.post(path, content=body, headers=JSON)
        assert answer.status_code == 400, body[:80]
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert not fake_triton.requests


def test_an_error_does_not_repeat_the_clients_values(gateway: RunningGateway) -> None:
    answer = gateway.http.post(GENERATIONS, json={"prompt": ["a secret"], "n": "a secret"})
    assert answer.status_code == 400
    assert "secret" not in answer.text


@pytest.mark.parametrize(
    "head",
    [
        b"POST /v1/images/edits HTTP/1.1\r\nContent-Type: multipart/form-data\r\n",
        b"POST /v1/images/edits HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=\r\n",
        b"POST /v1/images/edits HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=b\r\n",
    ],
)
def test_malformed_forms(gateway: RunningGateway, head: bytes) -> None:
    connection = gateway.socket()
    connection.sendall(head + b"Host: localhost\r\nContent-Length: 4\r\n\r\n--x\n")
    assert b" 400 " in connection.recv(1000)


def test_the_gateway_survives_malformed_requests(gateway: RunningGateway) -> None:
    connection = gateway.socket()
    connection.sendall(b"\x16\x03\x01\x00 not HTTP at all\r\n\r\n")
    connection.close()
    for path in ("/%00", "/../../etc/passwd", "/v1/../metrics/%2e%2e", "/v1/jobs/%2f"):
        assert gateway.http.get(path).status_code in (200, 307, 400, 404, 422)
    assert gateway.http.get("/healthz").status_code == 200

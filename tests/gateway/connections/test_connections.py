"""Connections are bounded: in number, in what they may send, and in how long they may take."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from gateway.connections import protocol
from tests.support.fake_triton_server import FakeTriton
from tests.support.gateways import RunningGateway
from tests.support.waiting import wait_until

Open = Callable[..., RunningGateway]
LINGER = 0.3
CHUNKED = "Transfer-Encoding: chunked\r\n"
LONG = "Content-Length: 900000\r\n"
# What follows a head, and how it says how long it is.
BODIES: dict[str, tuple[str, bytes, float]] = {
    "slow": (LONG, b" ", 0.02),
    "slow, of no known length": (CHUNKED, b"1\r\n \r\n", 0.02),
    "endless": (CHUNKED, b"4000\r\n" + b" " * 0x4000 + b"\r\n", 0.0),
    "endless one-byte chunks": (CHUNKED, b"1\r\n \r\n" * 4000, 0.0),
}
JSON = "Content-Type: application/json\r\n"
SCRIPT = "GET /docs/assets/swagger-ui-bundle.js"  # 1.5 MB
GENERATE = "POST /v1/images/generations"
# By status: the request, headers of its own, and the settings that make it so.
EARLY: dict[int, tuple[str, str, dict[str, Any]]] = {
    200: ("GET /healthz", "", {}),
    401: (GENERATE, JSON, {"api_keys": ("0" * 64,)}),
    403: (GENERATE, JSON + "Origin: http://elsewhere.example\r\n", {}),
    404: ("GET /nowhere", "", {}),
    405: ("PUT /v1/images/generations", JSON, {}),
    408: (GENERATE, JSON, {"body_seconds": 0.2}),
    413: (GENERATE, JSON, {"max_body_bytes": 10}),
    421: (GENERATE, JSON, {"allowed_hosts": ("elsewhere.example",)}),
}


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "LINGER_SECONDS", LINGER)


def head(line: str, headers: str) -> bytes:
    return f"{line} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n".encode()


def connections(gateway: RunningGateway) -> int:
    return len(gateway.server.server_state.connections)


def read_to_the_end(connection: socket.socket) -> bytes:
    received = b""
    with suppress(ConnectionError):
        while part := connection.recv(65536):
            received += part
    return received


def send_for_ever(connection: socket.socket, part: bytes, pause: float) -> None:
    with suppress(OSError):
        while True:
            connection.sendall(part)
            time.sleep(pause)


@pytest.mark.parametrize("status", EARLY)
def test_a_body_that_goes_on_after_its_answer(start_gateway: Open, status: int) -> None:
    """Each is answered, told that the connection ends, and ended though bytes keep coming."""
    line, headers, settings = EARLY[status]
    gateway = start_gateway(**settings)
    sockets, senders = [], []
    for length, part, pause in BODIES.values():
        connection = gateway.socket()
        connection.sendall(head(line, headers + length))
        sender = threading.Thread(target=send_for_ever, args=(connection, part, pause))
        sender.start()
        sockets.append(connection)
        senders.append(sender)
    begun = time.monotonic()
    answers = [read_to_the_end(connection) for connection in sockets]
    for answer in answers:
        # An endless body is over any limit before a wrong length of time is.
        assert answer.split()[1] in (b"%d" % status, b"413"), answer
        assert b"connection: close" in answer.lower()
    assert b" %d " % status in answers[0]
    assert wait_until(lambda: connections(gateway) == 0, seconds=3)
    assert time.monotonic() - begun < 3
    for connection, sender in zip(sockets, senders, strict=True):
        connection.close()
        sender.join(5)
        assert not sender.is_alive()


def test_an_early_answer_comes_whole_while_a_long_body_is_sent(start_gateway: Open) -> None:
    """Who sends all before it reads must not meet a reset that swallows the answer."""
    gateway = start_gateway(api_keys=("0" * 64,))
    body = b" " * 8_000_000
    connection = gateway.socket()
    connection.sendall(head(GENERATE, f"{JSON}Content-Length: {len(body)}\r\n") + body)
    assert b"invalid_api_key" in read_to_the_end(connection)


def test_a_body_that_arrives_in_time_keeps_the_connection(start_gateway: Open) -> None:
    gateway = start_gateway(api_keys=("0" * 64,))
    connection = gateway.socket()
    request = head(GENERATE, f"{JSON}Content-Length: 2\r\n") + b"{}"
    for _ in range(3):
        connection.sendall(request)
        answer = connection.recv(65536)
        assert b" 401 " in answer
        assert b"connection: close" not in answer.lower()


@pytest.mark.parametrize("sent", [b"", b"GET /hea", b"\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nX-A: "])
def test_a_head_that_never_ends(
    start_gateway: Open, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    """However slowly it goes on, and on a connection that was used before as well."""
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.4)
    gateway = start_gateway()
    fresh, used = gateway.socket(), gateway.socket()
    used.sendall(head("GET /healthz", ""))
    assert b" 200 " in used.recv(65536)
    for _ in range(20):
        with suppress(OSError):
            fresh.sendall(sent)
            used.sendall(sent or b"\r")
        time.sleep(0.05)
    assert wait_until(lambda: connections(gateway) == 0, seconds=1)


@pytest.mark.parametrize(
    "sent",
    [
        b"\r\n" * 50_000,
        b"GET /healthz?" + b"a" * 100_000,
        b"GET /healthz HTTP/1.1\r\n" + b"X-A: %b\r\n" % (b"a" * 900) * 1000,
        b"GET /healthz HTTP/1.1\r\nX-A: " + b"a" * 1_000_000,
        head("GET /healthz", f"X-A: {'a' * 70_000}\r\n"),
    ],
    ids=["empty lines", "target", "headers", "header", "whole"],
)
def test_a_head_without_measure(start_gateway: Open, sent: bytes) -> None:
    gateway = start_gateway()
    connection = gateway.socket()
    with suppress(ConnectionError):
        connection.sendall(sent)
    assert read_to_the_end(connection).split()[1] == b"431"
    assert wait_until(lambda: connections(gateway) == 0, seconds=2)


@pytest.mark.parametrize(
    ("part", "status"),
    [
        (b"1\r\n \r\n" * 1000, b"413"),  # the framing is five times what it holds
        (b"1;" + b"a" * 9000 + b"\r\n \r\n", b"413"),
        (b"0\r\n" + b"X-A: %b\r\n" % (b"a" * 900) * 1000, b"431"),  # trailers
    ],
)
def test_a_body_that_is_mostly_framing(start_gateway: Open, part: bytes, status: bytes) -> None:
    gateway = start_gateway()
    connection = gateway.socket()
    connection.sendall(head(GENERATE, JSON + CHUNKED))
    with suppress(ConnectionError):
        for _ in range(1000):
            connection.sendall(part)
    assert read_to_the_end(connection).split()[1] == status


def test_one_byte_chunks_are_a_body_too(gateway: RunningGateway) -> None:
    body = b'{"prompt": "a", "steps": 3}'

    def chunks() -> Iterator[bytes]:
        for byte in body:
            yield bytes([byte])

    answer = gateway.http.post(
        "/v1/images/generations", content=chunks(), headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 200


def test_each_address_has_its_share(start_gateway: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "192.0.2.1")
    gateway = start_gateway(connections_per_address=3)
    held = [gateway.socket() for _ in range(3)]
    assert wait_until(lambda: connections(gateway) == 3)
    answer = read_to_the_end(gateway.socket())  # nothing was asked yet
    assert answer.split()[1] == b"503"
    assert b"CONNECTIONS_PER_ADDRESS" in answer
    held.pop().close()
    assert wait_until(lambda: connections(gateway) == 2)
    assert gateway.http.get("/healthz").status_code == 200


def test_a_trusted_proxy_brings_the_connections_of_all(
    start_gateway: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "127.0.0.1")
    gateway = start_gateway(connections_per_address=1)
    held = [gateway.socket() for _ in range(3)]
    assert wait_until(lambda: connections(gateway) == 3)
    assert gateway.http.get("/healthz").status_code == 200
    assert len(held) == 3


def test_all_together_have_a_bound(start_gateway: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.server.MAX_CONNECTIONS", 2)
    gateway = start_gateway()
    held = [gateway.socket() for _ in range(2)]
    assert wait_until(lambda: connections(gateway) == 2)
    assert read_to_the_end(gateway.socket()).split()[1] == b"503"
    assert len(held) == 2


def unread(gateway: RunningGateway, request: bytes) -> socket.socket:
    """A client that asks and never reads, with next to no room for what it is sent."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    host, _, port = gateway.url.rpartition("/")[2].partition(":")
    connection.connect((host, int(port)))
    connection.sendall(request)
    return connection


def test_an_answer_that_nobody_reads(start_gateway: Open) -> None:
    gateway = start_gateway(write_seconds=0.5)
    connection = unread(gateway, head(SCRIPT, ""))
    assert wait_until(lambda: connections(gateway) == 1)
    assert wait_until(lambda: connections(gateway) == 0, seconds=5)
    connection.close()


def test_events_that_nobody_reads(
    start_gateway: Open, fake_triton: FakeTriton, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The drawing ends with the connection."""
    monkeypatch.setattr("gateway.api.event_stream.PING_SECONDS", 0.001)
    fake_triton.hold_at = 2
    fake_triton.proceed.clear()
    gateway = start_gateway(write_seconds=0.5)
    body = b'{"prompt": "a", "steps": 4, "stream": true, "partial_images": 3}'
    asked = head(GENERATE, f"{JSON}Content-Length: {len(body)}\r\n") + body
    connection = unread(gateway, asked)
    assert wait_until(lambda: connections(gateway) == 1)
    assert wait_until(lambda: connections(gateway) == 0, seconds=8)
    assert wait_until(lambda: len(fake_triton.cancelled_ids) == 1)
    connection.close()


def test_a_slow_reader_gets_all(start_gateway: Open) -> None:
    """Slower than the limit as a whole, but it goes on."""
    gateway = start_gateway(write_seconds=0.5)
    size = len(gateway.http.get(SCRIPT.split()[1]).content)
    connection = gateway.socket()
    connection.sendall(head(SCRIPT, "Connection: close\r\n"))
    received, begun = b"", time.monotonic()
    while part := connection.recv(max(1, size // 8)):
        received += part
        time.sleep(0.15)
    assert time.monotonic() - begun > 1
    assert len(received) > size


def test_requests_that_follow_without_waiting(start_gateway: Open) -> None:
    """A few are answered in turn; what is far ahead of its answers is not kept."""
    gateway = start_gateway()
    connection = gateway.socket()
    connection.sendall(head("GET /healthz", "") * 3)
    received = b""
    while received.count(b"HTTP/1.1 200") < 3:
        received += connection.recv(65536)
    assert b"connection: close" not in received.lower()
    connection.close()
    flood = gateway.socket()
    flood.sendall(head("GET /healthz", "") * 3000)
    answers = read_to_the_end(flood)
    assert 1 <= answers.count(b"HTTP/1.1 200") <= 20
    assert b"HTTP/1.1 4" not in answers

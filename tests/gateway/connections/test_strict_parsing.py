"""What two servers might read in two ways is refused: nothing may be smuggled past a proxy."""

from __future__ import annotations

import socket
from contextlib import suppress

import pytest

from tests.support.gateways import RunningGateway

BODY = b'{"prompt": "a"}'
HOST = b"Host: localhost\r\n"
START = b"POST /v1/images/generations HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n"
LENGTH = b"Content-Length: 15\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
CHUNKS = b"f\r\n" + BODY + b"\r\n0\r\n\r\n"
AMBIGUOUS = {
    "a length and chunks": START + LENGTH + CHUNKED + b"\r\n" + CHUNKS,
    "chunks and a length": START + CHUNKED + LENGTH + b"\r\n" + CHUNKS,
    "two lengths": START + LENGTH + b"Content-Length: 3\r\n\r\n" + BODY,
    "a length twice": START + LENGTH + LENGTH + b"\r\n" + BODY,
    "lengths in a list": START + b"Content-Length: 15, 15\r\n\r\n" + BODY,
    "a length with a sign": START + b"Content-Length: +15\r\n\r\n" + BODY,
    "a length with an underscore": START + b"Content-Length: 1_5\r\n\r\n" + BODY,
    "a hexadecimal length": START + b"Content-Length: 0xf\r\n\r\n" + BODY,
    "a length that overflows": START + b"Content-Length: 18446744073709551631\r\n\r\n" + BODY,
    "an empty length": START + b"Content-Length: \r\n\r\n" + BODY,
    "another coding": START + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + CHUNKS,
    "identity": START + b"Transfer-Encoding: identity\r\n" + LENGTH + b"\r\n" + BODY,
    "a coding that is none": START + b"Transfer-Encoding: xchunked\r\n\r\n" + CHUNKS,
    "chunks twice": START + CHUNKED + CHUNKED + b"\r\n" + CHUNKS,
    "a coding behind a tab": START + b"Transfer-Encoding:\x0bchunked\r\n\r\n" + CHUNKS,
    "chunks in HTTP/1.0": START.replace(b"1.1", b"1.0") + CHUNKED + b"\r\n" + CHUNKS,
    "bare line feeds": b"GET /healthz HTTP/1.1\nHost: localhost\n\n",
    "one bare line feed": b"GET /healthz HTTP/1.1\r\n" + HOST + b"X-A: b\nX-C: d\r\n\r\n",
    "a bare carriage return": b"GET /healthz HTTP/1.1\r\n" + HOST + b"X-A: b\rX-C: d\r\n\r\n",
    "a folded line": b"GET /healthz HTTP/1.1\r\n" + HOST + b"X-A: b\r\n c\r\n\r\n",
    "a folded length": START + b"Content-Length:\r\n 15\r\n\r\n" + BODY,
    "a space before the colon": START + b"Content-Length : 15\r\n\r\n" + BODY,
    "a space before a name": b"GET /healthz HTTP/1.1\r\n " + HOST + b"\r\n",
    "a name that is none": b"GET /healthz HTTP/1.1\r\n" + HOST + b"X(A): b\r\n\r\n",
    "no name": b"GET /healthz HTTP/1.1\r\n" + HOST + b": b\r\n\r\n",
    "no colon": b"GET /healthz HTTP/1.1\r\n" + HOST + b"X-A\r\n\r\n",
    "NUL in a value": b"GET /healthz HTTP/1.1\r\n" + HOST + b"X-A: b\x00c\r\n\r\n",
    "HTTP/0.9": b"GET /healthz\r\n\r\n",
    "HTTP/0.9 by name": b"GET /healthz HTTP/0.9\r\n" + HOST + b"\r\n",
    "HTTP/1.2": b"GET /healthz HTTP/1.2\r\n" + HOST + b"\r\n",
    "HTTP/2.0": b"GET /healthz HTTP/2.0\r\n" + HOST + b"\r\n",
    "HTTP/2's preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no host": b"GET /healthz HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /healthz HTTP/1.1\r\n" + HOST + b"Host: elsewhere.example\r\n\r\n",
    "a whole address": b"GET http://elsewhere.example/healthz HTTP/1.1\r\n" + HOST + b"\r\n",
    "a tunnel": b"CONNECT localhost:443 HTTP/1.1\r\n" + HOST + b"\r\n",
    "a path that is no ASCII": b"GET /healthz?\xc3\xa4 HTTP/1.1\r\n" + HOST + b"\r\n",
    "a space in the path": b"GET /heal thz HTTP/1.1\r\n" + HOST + b"\r\n",
    "a control character in the path": b"GET /healthz\x01 HTTP/1.1\r\n" + HOST + b"\r\n",
    "a method in small letters": b"get /healthz HTTP/1.1\r\n" + HOST + b"\r\n",
    "a chunk size with a sign": START + CHUNKED + b"\r\n-1\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a chunk size with 0x": START + CHUNKED + b"\r\n0xf\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a chunk size that overflows": START + CHUNKED + b"\r\n1000000000000000f\r\n" + BODY,
    "a space behind a chunk size": START + CHUNKED + b"\r\nf \r\n" + BODY + b"\r\n0\r\n\r\n",
    "a chunk size by a bare line feed": START + CHUNKED + b"\r\nf\n" + BODY + b"\r\n0\r\n\r\n",
    "a chunk that goes on": START + CHUNKED + b"\r\nf\r\n" + BODY + b"xx\r\n0\r\n\r\n",
    "a chunk by a bare line feed": START + CHUNKED + b"\r\nf\r\n" + BODY + b"\n0\r\n\r\n",
}


def answers_to(gateway: RunningGateway, request: bytes) -> bytes:
    connection, received = gateway.socket(), b""
    connection.sendall(request)
    connection.settimeout(2)
    with suppress(ConnectionError):
        while part := connection.recv(65536):
            received += part
    connection.close()
    return received


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_refused_and_closed(gateway: RunningGateway, name: str) -> None:
    """The second request would be what was smuggled."""
    answer = answers_to(gateway, AMBIGUOUS[name] + b"GET /smuggled HTTP/1.1\r\n" + HOST + b"\r\n")
    assert answer.split()[1] in (b"400", b"501", b"505"), answer
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in answer.lower()
    assert b'"type":"invalid_request_error"' in answer.replace(b" ", b"") or b"50" in answer


@pytest.mark.parametrize(
    "request_",
    [
        START + LENGTH + b"\r\n" + BODY,
        START + CHUNKED + b"\r\n" + CHUNKS,
        START + b"Transfer-Encoding: Chunked\r\n\r\n" + CHUNKS,
        START + CHUNKED + b"\r\nf;name=value\r\n" + BODY + b"\r\n0\r\nX-Trailer: a\r\n\r\n",
        b"\r\n" + START + LENGTH + b"\r\n" + BODY,
        START.replace(b"1.1", b"1.0") + LENGTH + b"\r\n" + BODY,
        START + LENGTH + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n" + BODY,
        START + CHUNKED + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n" + CHUNKS,
        START + LENGTH + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n" + BODY,
    ],
)
def test_what_is_plain_is_answered(gateway: RunningGateway, request_: bytes) -> None:
    connection = gateway.socket()
    connection.sendall(request_)
    assert b" 200 " in connection.recv(100)
    connection.close()


def test_trailers_are_no_headers(gateway: RunningGateway) -> None:
    """What comes after the body was not looked at by who looks at headers."""
    chunks = b"f\r\n" + BODY + b"\r\n0\r\nX-Request-Id: trailing\r\n\r\n"
    connection = gateway.socket()
    connection.sendall(START + CHUNKED + b"\r\n" + chunks)
    answer = connection.recv(4096)
    assert b" 200 " in answer
    assert b"trailing" not in answer


def test_a_broken_request_does_not_break_the_answer_before_it(gateway: RunningGateway) -> None:
    connection = gateway.socket()
    connection.sendall(START + LENGTH + b"\r\n" + BODY + b"no request\r\n\r\n")
    received = b""
    with suppress(ConnectionError, socket.timeout):
        while part := connection.recv(65536):
            received += part
    assert received.startswith(b"HTTP/1.1 200")
    assert received.count(b"HTTP/1.1 ") == 1
    assert received.rstrip().endswith(b"}")

"""The same bounds under TLS, where closing takes part of both sides."""

from __future__ import annotations

import socket
import ssl
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from gateway.connections import protocol
from tests.support.gateways import RunningGateway
from tests.support.waiting import wait_until

Open = Callable[..., RunningGateway]
ENDLESS = b"POST /v1/images/generations HTTP/1.1\r\nHost: elsewhere.example\r\n"


@pytest.fixture
def gateway(start_gateway: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunningGateway:
    monkeypatch.setattr(protocol, "LINGER_SECONDS", 0.3)
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost",
         "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    return start_gateway(tls_certificate=certificate, tls_key=key, write_seconds=0.5)


def secure(connection: socket.socket) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(connection, suppress_ragged_eofs=True)


def gone(gateway: RunningGateway) -> bool:
    return not gateway.server.server_state.connections


def test_a_body_that_goes_on_after_its_answer(gateway: RunningGateway) -> None:
    connection = secure(gateway.socket())
    connection.sendall(ENDLESS + b"Content-Length: 900000\r\n\r\n")
    assert b" 421 " in connection.recv(65536)

    def ended() -> bool:
        with suppress(OSError):
            connection.sendall(b" ")
        return gone(gateway)

    assert wait_until(ended, seconds=3)


def test_an_answer_that_nobody_reads(gateway: RunningGateway) -> None:
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    host, _, port = gateway.url.rpartition("/")[2].partition(":")
    plain.connect((host, int(port)))
    connection = secure(plain)
    target = b"GET /docs/assets/swagger-ui-bundle.js"
    connection.sendall(target + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert wait_until(lambda: not gone(gateway))
    assert wait_until(lambda: gone(gateway), seconds=5)

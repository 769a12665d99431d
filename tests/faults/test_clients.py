"""Clients that are slow, that vanish in the middle of a stream, and a thousand connections.

Others are served as if they were not there; none of their requests stays behind.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

from tests.faults.scene import Scene
from tests.support.stacks import fetch
from tests.support.waiting import wait_until

HEAD = b"POST /v1/images/generations HTTP/1.1\r\nHost: localhost\r\n"
JSON = b"Content-Type: application/json\r\n"
STREAM = b'{"prompt": "a star", "steps": 100, "stream": true, "partial_images": 3}'
SLOW, VANISHING, CONNECTIONS = 50, 8, 1000


@contextlib.contextmanager
def connections(address: str, count: int) -> Iterator[list[socket.socket]]:
    host, _, port = address.rpartition(":")
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(socket.create_connection((host, int(port)), 20))
            for _ in range(count)
        ]


def gateway(scene: Scene) -> str:
    return urlsplit(scene.stack.gateway).netloc


def test_slow_clients(scene: Scene) -> None:
    """A head without an end, and a body of which one byte comes."""
    with connections(gateway(scene), SLOW) as slow:

        def strike() -> None:
            for number, connection in enumerate(slow):
                rest = b"" if number % 2 else JSON + b"Content-Length: 1000\r\n\r\n{"
                connection.sendall(HEAD + rest)

        scene.suffer(f"{SLOW} slow clients of the gateway", strike)


def test_vanishing_clients(scene: Scene) -> None:
    def strike() -> None:
        with connections(gateway(scene), VANISHING) as vanishing:
            for connection in vanishing:
                length = f"Content-Length: {len(STREAM)}\r\n\r\n".encode()
                connection.sendall(HEAD + JSON + length + STREAM)
            for connection in vanishing:
                connection.recv(1)

    scene.suffer(f"{VANISHING} clients gone in the middle of a stream", strike)
    assert wait_until(lambda: in_flight(scene) == 0, 10)


def in_flight(scene: Scene) -> float:
    _, text = fetch(f"http://{scene.stack.addresses['metrics']}/metrics")
    lines = [line for line in text.splitlines() if line.startswith("latent_relay_in_flight{")]
    return sum(float(line.split()[-1]) for line in lines)


def test_a_thousand_connections(scene: Scene) -> None:
    """Idle ones, to the gateway and to Triton's HTTP and gRPC alike."""
    with contextlib.ExitStack() as stack:

        def strike() -> None:
            for address in (gateway(scene), scene.stack.http, scene.stack.grpc):
                stack.enter_context(connections(address, CONNECTIONS))

        scene.suffer(f"{CONNECTIONS} idle connections to each of three ports", strike)
        assert fetch(f"{scene.stack.gateway}/readyz")[0] == 200

"""Slow clients, clients that disconnect in the middle of a stream, and a thousand connections.

Other clients are served as usual, and no request of a vanished client stays in flight.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

from tests.faults.scenario import FaultScenario
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


def gateway(scenario: FaultScenario) -> str:
    return urlsplit(scenario.stack.gateway).netloc


def test_slow_clients(scenario: FaultScenario) -> None:
    """Half of them never end their head; the others send one byte of their body."""
    with connections(gateway(scenario), SLOW) as slow:

        def inject() -> None:
            for number, connection in enumerate(slow):
                rest = b"" if number % 2 else JSON + b"Content-Length: 1000\r\n\r\n{"
                connection.sendall(HEAD + rest)

        scenario.survive(f"{SLOW} slow clients of the gateway", inject)


def test_vanishing_clients(scenario: FaultScenario) -> None:
    def inject() -> None:
        with connections(gateway(scenario), VANISHING) as vanishing:
            for connection in vanishing:
                length = f"Content-Length: {len(STREAM)}\r\n\r\n".encode()
                connection.sendall(HEAD + JSON + length + STREAM)
            for connection in vanishing:
                connection.recv(1)

    scenario.survive(f"{VANISHING} clients gone in the middle of a stream", inject)
    assert wait_until(lambda: in_flight(scenario) == 0, 10)


def in_flight(scenario: FaultScenario) -> float:
    _, text = fetch(f"http://{scenario.stack.addresses['metrics']}/metrics")
    lines = [line for line in text.splitlines() if line.startswith("latent_relay_in_flight{")]
    return sum(float(line.split()[-1]) for line in lines)


def test_a_thousand_connections(scenario: FaultScenario) -> None:
    """Idle connections to the gateway and to Triton's HTTP and gRPC ports."""
    with contextlib.ExitStack() as stack:

        def inject() -> None:
            for address in (gateway(scenario), scenario.stack.http, scenario.stack.grpc):
                stack.enter_context(connections(address, CONNECTIONS))

        scenario.survive(f"{CONNECTIONS} idle connections to each of three ports", inject)
        assert fetch(f"{scenario.stack.gateway}/readyz")[0] == 200

from __future__ import annotations

import socket

import pytest

from ray_stages.launcher.ports import EPHEMERAL, LOWEST, Ports, bind_free
from ray_stages.settings import Settings


def test_zero_is_any_free_port() -> None:
    ports = Ports.choose(Settings(http_port=0, grpc_port=0, metrics_port=0))
    assert len({ports.http, ports.grpc, ports.metrics}) == 3
    assert min(ports.http, ports.grpc, ports.metrics) > 0


def test_no_free_port_is_one_that_connections_are_given() -> None:
    """Or another process could hold it when a server that died comes back to it."""
    first = int(EPHEMERAL.read_text().split()[0])
    for _ in range(50):
        with bind_free("127.0.0.1") as sock:
            assert LOWEST <= sock.getsockname()[1] < first


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"GRPC_PORT={port} on 127.0.0.1"):
            Ports.choose(Settings(http_port=0, grpc_port=port, metrics_port=0))

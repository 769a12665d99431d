from __future__ import annotations

import socket

import pytest

from ray_stages.launcher.ports import EPHEMERAL_RANGE_FILE, LOWEST_PORT, Ports, bind_free_port
from ray_stages.settings import Settings


def test_zero_means_any_free_port() -> None:
    ports = Ports.choose(Settings(http_port=0, grpc_port=0, metrics_port=0))
    assert len({ports.http, ports.grpc, ports.metrics}) == 3
    assert min(ports.http, ports.grpc, ports.metrics) > 0


def test_free_ports_are_outside_the_ephemeral_range() -> None:
    """Otherwise another process could hold the port when a restarted server needs it again."""
    first = int(EPHEMERAL_RANGE_FILE.read_text().split()[0])
    for _ in range(50):
        with bind_free_port("127.0.0.1") as sock:
            assert LOWEST_PORT <= sock.getsockname()[1] < first


def test_equal_ports_are_refused_by_their_names() -> None:
    with pytest.raises(ValueError, match="GRPC_PORT and GATEWAY_PORT are both 8055"):
        Ports.choose(Settings(http_port=0, grpc_port=8055, metrics_port=0, gateway_port=8055))


def test_the_error_names_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"GRPC_PORT={port} on 127.0.0.1"):
            Ports.choose(Settings(http_port=0, grpc_port=port, metrics_port=0))

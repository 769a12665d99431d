"""The ports that a stack's tritonserver listens on."""

from __future__ import annotations

import random
import socket
from dataclasses import dataclass
from pathlib import Path

from ray_stages.settings import Settings

EPHEMERAL_RANGE_FILE = Path("/proc/sys/net/ipv4/ip_local_port_range")
LOWEST_PORT = 10_000
ATTEMPTS = 100


@dataclass(frozen=True)
class Ports:
    http: int
    grpc: int
    metrics: int

    @classmethod
    def choose(cls, settings: Settings) -> Ports:
        """Takes the settings' ports, and a free port for each 0.

        Raises OSError with the setting's name for a port that is taken, ValueError for two equal
        ones.
        """
        wanted = {
            "HTTP_PORT": settings.http_port,
            "GRPC_PORT": settings.grpc_port,
            "METRICS_PORT": settings.metrics_port,
        }
        _refuse_equal_ports({**wanted, "GATEWAY_PORT": settings.gateway_port})
        sockets: list[socket.socket] = []
        try:
            for name, port in wanted.items():
                host = settings.bind
                sockets.append(_bind(host, name, port) if port else bind_free_port(host))
            http, grpc, metrics = (sock.getsockname()[1] for sock in sockets)
        finally:
            for sock in sockets:
                sock.close()
        return cls(http, grpc, metrics)


def bind_free_port(host: str) -> socket.socket:
    """Binds a free port below the kernel's ephemeral range.

    A restarted tritonserver listens on the same port again. A port of the ephemeral range could
    have been given to another process in the meantime.
    """
    first = (
        int(EPHEMERAL_RANGE_FILE.read_text().split()[0]) if EPHEMERAL_RANGE_FILE.exists() else 32768
    )
    candidates = range(LOWEST_PORT, max(first, LOWEST_PORT + ATTEMPTS))
    for port in random.sample(candidates, ATTEMPTS):
        try:
            return _bind(host, "port", port)
        except OSError:
            continue
    return _bind(host, "port", 0)


def _refuse_equal_ports(wanted: dict[str, int]) -> None:
    for port in filter(None, wanted.values()):
        equal = [other for other in wanted if wanted[other] == port]
        if len(equal) > 1:
            raise ValueError(f"{' and '.join(equal)} are both {port}; each needs one of its own")


def _bind(host: str, name: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise OSError(
            f"{name}={port} on {host}: {error.strerror}; another port or 0 for any free one"
        ) from None
    return sock

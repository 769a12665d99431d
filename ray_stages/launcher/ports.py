"""Which ports a stack listens on."""

from __future__ import annotations

import random
import socket
from dataclasses import dataclass
from pathlib import Path

from ray_stages.settings import Settings

EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
LOWEST = 10_000
TRIES = 100


@dataclass(frozen=True)
class Ports:
    http: int
    grpc: int
    metrics: int

    @classmethod
    def choose(cls, settings: Settings) -> Ports:
        """Takes the settings' ports, a free one for each 0; OSError names a port that is taken."""
        wanted = {
            "HTTP_PORT": settings.http_port,
            "GRPC_PORT": settings.grpc_port,
            "METRICS_PORT": settings.metrics_port,
        }
        held: list[socket.socket] = []
        try:
            for name, port in wanted.items():
                held.append(_bind(settings.bind, name, port) if port else bind_free(settings.bind))
            http, grpc, metrics = (sock.getsockname()[1] for sock in held)
        finally:
            for sock in held:
                sock.close()
        return cls(http, grpc, metrics)


def bind_free(host: str) -> socket.socket:
    """A port that the kernel gives nobody unasked.

    One of those it hands out could be another's by the time a part that died comes back to it.
    """
    first = int(EPHEMERAL.read_text().split()[0]) if EPHEMERAL.exists() else 32768
    for port in random.sample(range(LOWEST, max(first, LOWEST + TRIES)), TRIES):
        try:
            return _bind(host, "port", port)
        except OSError:
            continue
    return _bind(host, "port", 0)


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

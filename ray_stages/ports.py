"""Which ports a stack listens on."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from ray_stages.settings import Settings


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
                held.append(_bind(settings.bind, name, port))
            http, grpc, metrics = (sock.getsockname()[1] for sock in held)
        finally:
            for sock in held:
                sock.close()
        return cls(http, grpc, metrics)


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

"""uvicorn, as the settings say."""

from __future__ import annotations

import socket
from types import FrameType

import uvicorn
from fastapi import FastAPI

from gateway.app import create_app
from gateway.middleware.slow_requests import PunctualProtocol
from gateway.settings import GatewaySettings

BACKLOG = 1024
KEEP_ALIVE_SECONDS = 30
MOST_CONNECTIONS = 2048


class Server(uvicorn.Server):
    """Tells the application as soon as it is to stop: streams of events would keep it up else."""

    def __init__(self, app: FastAPI, settings: GatewaySettings) -> None:
        certificate, key = settings.tls_certificate, settings.tls_key
        config = uvicorn.Config(
            app,
            http=PunctualProtocol,
            log_config=None,
            access_log=False,
            server_header=False,
            backlog=BACKLOG,
            limit_concurrency=MOST_CONNECTIONS,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=int(settings.drain_seconds),
            ssl_certfile=certificate and str(certificate),
            ssl_keyfile=key and str(key),
        )
        super().__init__(config)
        self.app = app

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if house := getattr(self.app.state, "house", None):
            house.leave()
        super().handle_exit(sig, frame)


def serve(settings: GatewaySettings) -> None:
    settings.keys()  # a file that is no good is told before anything else
    listening = listen(settings)
    print(f"gateway on {address(settings, listening)}", flush=True)
    Server(create_app(settings), settings).run([listening])


def listen(settings: GatewaySettings) -> socket.socket:
    host, port = settings.gateway_bind, settings.gateway_port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        wish = "another port or 0 for any free one"
        raise OSError(f"GATEWAY_PORT={port} on {host}: {error.strerror}; {wish}") from None


def address(settings: GatewaySettings, listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    scheme = "https" if settings.tls_certificate else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

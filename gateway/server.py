"""The uvicorn server."""

from __future__ import annotations

import resource
import socket
from types import FrameType

import uvicorn
from fastapi import FastAPI
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from gateway.app import create_app
from gateway.connections.limits import ConnectionLimits
from gateway.connections.protocol import protocol_within
from gateway.settings import GatewaySettings

BACKLOG = 1024
KEEP_ALIVE_SECONDS = 30
MAX_CONNECTIONS = 2048


class Server(uvicorn.Server):
    """Tells the application about the shutdown first, since open event streams would delay it."""

    def __init__(self, app: FastAPI, settings: GatewaySettings) -> None:
        certificate, key = settings.tls_certificate, settings.tls_key
        config = uvicorn.Config(
            app,
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=int(settings.drain_seconds),
            ssl_certfile=certificate and str(certificate),
            ssl_keyfile=key and str(key),
        )
        proxies = ProxyHeadersMiddleware(app, config.forwarded_allow_ips)  # type: ignore[arg-type]
        limits = ConnectionLimits(
            MAX_CONNECTIONS,
            settings.connections_per_address,
            settings.write_seconds,
            proxies.trusted_hosts.__contains__,
        )
        config.http = protocol_within(limits)
        super().__init__(config)
        self.app = app

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if dependencies := getattr(self.app.state, "dependencies", None):
            dependencies.begin_shutdown()
        super().handle_exit(sig, frame)


def serve(settings: GatewaySettings) -> None:
    settings.keys()  # raises for a wrong file before anything starts
    _raise_open_file_limit()
    listening = listen(settings)
    print(f"gateway on {address(settings, listening)}", flush=True)
    Server(create_app(settings), settings).run([listening])


def listen(settings: GatewaySettings) -> socket.socket:
    host, port = settings.gateway_bind, settings.gateway_port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        hint = "another port or 0 for any free one"
        raise OSError(f"GATEWAY_PORT={port} on {host}: {error.strerror}; {hint}") from None


def _raise_open_file_limit() -> None:
    """Many shells allow 1024, fewer than the connections that are accepted."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * MAX_CONNECTIONS
    if soft < wanted:
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))


def address(settings: GatewaySettings, listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    scheme = "https" if settings.tls_certificate else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

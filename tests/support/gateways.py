"""A gateway on a real socket, in a thread of its own, in front of a stand-in for Triton."""

from __future__ import annotations

import json
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2 as httpx

from gateway.app import create_app
from gateway.server import Server, address, listen
from gateway.settings import GatewaySettings
from tests.support.fake_triton_server import FakeTriton
from tests.support.waiting import wait_until


@dataclass
class Front:
    """`http` is a client of it."""

    url: str
    http: httpx.Client
    server: Server

    def socket(self) -> socket.socket:
        host, _, port = self.url.rpartition("/")[2].partition(":")
        return socket.create_connection((host, int(port)), timeout=10)

    def settled(self, id: str, status: str = "completed") -> dict[str, Any]:
        """The job, once it has that status."""
        state: dict[str, Any] = {}

        def reached() -> bool:
            state.update(self.http.get(f"/v1/jobs/{id}").json())
            return bool(state.get("status") == status)

        assert wait_until(reached), state
        return state


def settings_for(drawing: FakeTriton, folder: Path, **given: Any) -> GatewaySettings:
    usual: dict[str, Any] = {
        "gateway_port": 0,
        "triton_grpc": (drawing.url,),
        "model": "miniature",
        "store": f"sqlite:///{folder}/store.sqlite",
        "drain_seconds": 5,
    }
    return GatewaySettings(**{**usual, **given})


@contextmanager
def opened(drawing: FakeTriton, folder: Path, **given: Any) -> Iterator[Front]:
    settings = settings_for(drawing, folder, **given)
    listening = listen(settings)
    server = Server(create_app(settings), settings)
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    assert wait_until(lambda: server.started)
    url = address(settings, listening)
    try:
        with httpx.Client(base_url=url, timeout=20, trust_env=False) as client:
            yield Front(url, client, server)
    finally:
        drawing.go_on.set()
        server.handle_exit(signal.SIGTERM, None)
        thread.join(20)
        assert not thread.is_alive()


def events(text: str) -> list[tuple[str, dict[str, Any]]]:
    """Of a stream that is over: names and data."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if line[:1] != ":")
        if fields:
            found.append((fields["event"], json.loads(fields["data"])))
    return found

"""A gateway on a real socket, in a thread, in front of a fake Triton."""

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
class RunningGateway:
    """http: a client whose base URL is the gateway's."""

    url: str
    http: httpx.Client
    server: Server

    def socket(self) -> socket.socket:
        host, _, port = self.url.rpartition("/")[2].partition(":")
        return socket.create_connection((host, int(port)), timeout=10)

    def wait_for_job(self, id: str, status: str = "completed") -> dict[str, Any]:
        """The job's state, once it has that status."""
        state: dict[str, Any] = {}

        def reached() -> bool:
            state.update(self.http.get(f"/v1/jobs/{id}").json())
            return bool(state.get("status") == status)

        assert wait_until(reached), state
        return state


def settings_for(triton: FakeTriton, folder: Path, **given: Any) -> GatewaySettings:
    defaults: dict[str, Any] = {
        "gateway_port": 0,
        "triton_grpc": (triton.url,),
        "model": "miniature",
        "store": f"sqlite:///{folder}/store.sqlite",
        "drain_seconds": 5,
    }
    return GatewaySettings(**{**defaults, **given})


@contextmanager
def running_gateway(triton: FakeTriton, folder: Path, **given: Any) -> Iterator[RunningGateway]:
    settings = settings_for(triton, folder, **given)
    listening = listen(settings)
    server = Server(create_app(settings), settings)
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    assert wait_until(lambda: server.started)
    url = address(settings, listening)
    try:
        with httpx.Client(base_url=url, timeout=20, trust_env=False) as client:
            yield RunningGateway(url, client, server)
    finally:
        triton.proceed.set()
        server.handle_exit(signal.SIGTERM, None)
        thread.join(20)
        assert not thread.is_alive()


def parse_events(text: str) -> list[tuple[str, dict[str, Any]]]:
    """The name and data of each event in a complete event stream."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if line[:1] != ":")
        if fields:
            found.append((fields["event"], json.loads(fields["data"])))
    return found

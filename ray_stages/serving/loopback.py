"""Makes Ray Serve's replicas listen on loopback only, for which Serve has no setting."""

from __future__ import annotations

from typing import Any

from ray.serve._private import replica


def listen_on_loopback_only() -> None:
    """Patches Serve; a replica calls this before Serve opens its ports.

    Each replica opens a gRPC server for calls between deployments. It listens on all addresses and
    unpickles what it receives. This project does not use it.
    """
    add_port = replica.add_port_to_grpc_server

    def add_loopback_port(server: Any, address: str) -> Any:
        return add_port(server, address.replace("[::]", "127.0.0.1"))

    replica.add_port_to_grpc_server = add_loopback_port

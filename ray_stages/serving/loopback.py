"""Keeps a private stack to this machine where Ray Serve itself cannot be told to."""

from __future__ import annotations

from typing import Any

from ray.serve._private import replica


def keep_to_loopback() -> None:
    """Call in a replica, before Serve opens its ports.

    Each replica opens a gRPC server for calls between deployments, on all addresses and speaking
    pickle. We do not use it, and no setting says where it listens.
    """
    bind = replica.add_port_to_grpc_server

    def bind_to_loopback(server: Any, address: str) -> Any:
        return bind(server, address.replace("[::]", "127.0.0.1"))

    replica.add_port_to_grpc_server = bind_to_loopback

"""Keeps a private stack to this machine where Ray Serve itself cannot be told to."""

from __future__ import annotations

from typing import Any

from ray.serve._private import replica


def keep_to_loopback() -> None:
    """Call in a replica, before Serve opens its ports.

    Each replica opens a gRPC server for calls between deployments, on all addresses and with pickle,
    whether it is used or not (we do not), and no setting says where. It binds when our class is made.
    """
    bind = replica.add_port_to_grpc_server

    def bind_to_loopback(server: Any, address: str) -> Any:
        return bind(server, address.replace("[::]", "127.0.0.1"))

    replica.add_port_to_grpc_server = bind_to_loopback

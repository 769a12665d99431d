"""gRPC with TLS: what tritonserver is told, and what its clients on this machine trust."""

from __future__ import annotations

import os

from ray_stages.settings import Settings


def server_options(settings: Settings) -> list[str]:
    if not settings.grpc_tls_certificate:
        return []
    return [
        "--grpc-use-ssl=true",
        f"--grpc-server-cert={settings.grpc_tls_certificate}",
        f"--grpc-server-key={settings.grpc_tls_key}",
    ]


def trusted(settings: Settings) -> str:
    """The file of the authority whose servers to trust: TRITON_TLS_CA, else the certificate itself.

    Empty where gRPC is plain.
    """
    if not settings.grpc_tls_certificate:
        return ""
    return os.environ.get("TRITON_TLS_CA") or settings.grpc_tls_certificate

"""TLS for gRPC: the options of tritonserver, and the CA file for its clients on this machine."""

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


def ca_file(settings: Settings) -> str:
    """Returns the CA file that clients trust: TRITON_TLS_CA, or else the certificate itself.

    Returns "" if gRPC has no TLS.
    """
    if not settings.grpc_tls_certificate:
        return ""
    return os.environ.get("TRITON_TLS_CA") or str(settings.grpc_tls_certificate)

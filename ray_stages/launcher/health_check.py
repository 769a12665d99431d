"""Health checks of the containers, one for each kind; each raises OSError with the reason."""

from __future__ import annotations

import os
import ssl
import urllib.error
import urllib.request

from ray_stages.launcher.heartbeat import STALE_SECONDS, seconds_since_heartbeat
from ray_stages.settings import Settings

TIMEOUT_SECONDS = 20.0


def check_gateway(settings: Settings) -> None:
    """Calls `/readyz`, which draws a tiny picture through the whole service."""
    scheme = "https" if os.environ.get("TLS_CERTIFICATE") else "http"
    url = f"{scheme}://127.0.0.1:{settings.gateway_port}/readyz"
    context = ssl.create_default_context()
    # The certificate is for the public host name, not for 127.0.0.1.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS, context=context).close()
    except urllib.error.HTTPError as error:
        raise OSError(error.read().decode()) from None


def check_triton(settings: Settings) -> None:
    """Draws a tiny picture over gRPC."""
    from relay_client import Client, RequestError

    address = f"127.0.0.1:{settings.grpc_port}"
    try:
        with Client(address, timeout=TIMEOUT_SECONDS, retries=0) as client:
            client.generate(
                "a red circle", seed=0, width=64, height=64, steps=1, guidance_scale=1, priority=1
            )
    except RequestError as error:
        raise OSError(str(error)) from None


def check_node(settings: Settings) -> None:
    """A Ray node cannot draw by itself, so its heartbeat is checked."""
    seconds = seconds_since_heartbeat(settings)
    if seconds > STALE_SECONDS:
        raise OSError(f"no heartbeat for {seconds:.0f} s, the limit is {STALE_SECONDS:.0f} s")


CHECKS = {"gateway": check_gateway, "triton": check_triton, "node": check_node}

"""Whether a container does its work, for its health check: each role is asked in its own way."""

from __future__ import annotations

import os
import ssl
import urllib.error
import urllib.request

from ray_stages.launcher.heartbeat import STALE_SECONDS, silent_seconds
from ray_stages.settings import Settings

SECONDS = 20.0


def gateway(settings: Settings) -> None:
    """It answers when a tiny picture has gone through all of the house."""
    scheme = "https" if os.environ.get("TLS_CERTIFICATE") else "http"
    url = f"{scheme}://127.0.0.1:{settings.gateway_port}/readyz"
    own = ssl.create_default_context()
    # Its certificate is for the name that clients call it by.
    own.check_hostname, own.verify_mode = False, ssl.CERT_NONE
    try:
        urllib.request.urlopen(url, timeout=SECONDS, context=own).close()
    except urllib.error.HTTPError as error:
        raise OSError(error.read().decode()) from None


def triton(settings: Settings) -> None:
    from relay_client import Client, RequestError

    try:
        with Client(f"127.0.0.1:{settings.grpc_port}", timeout=SECONDS, retries=0) as client:
            client.generate(
                "a red circle", seed=0, width=64, height=64, steps=1, guidance_scale=1, priority=1
            )
    except RequestError as error:
        raise OSError(str(error)) from None


def node(settings: Settings) -> None:
    """A node has nothing of its own to draw with: its role must still watch over it."""
    silent = silent_seconds(settings)
    if silent > STALE_SECONDS:
        raise OSError(f"no heartbeat for {silent:.0f} s, the limit is {STALE_SECONDS:.0f} s")


CHECKS = {"gateway": gateway, "triton": triton, "node": node}

"""The environment of a Ray cluster's processes."""

from __future__ import annotations

import os
import secrets

from ray_stages.settings import ROOT, Settings

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def without_proxy_on_loopback() -> None:
    """Tells this process and its children to ask loopback directly, whatever proxy is set."""
    for name in ("no_proxy", "NO_PROXY"):
        given = [host for host in os.environ.get(name, "").split(",") if host]
        os.environ[name] = ",".join(dict.fromkeys([*given, *LOOPBACK]))


def ray_environment(settings: Settings) -> dict[str, str]:
    """Returns the variables that all processes of one Ray cluster must share.

    A private cluster, which this machine starts for itself, listens on loopback only and wants a
    token.
    """
    common = {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        "RAY_USAGE_STATS_ENABLED": "0",
        # Ray would drop lines that differ in numbers only, but each belongs to another request.
        "RAY_DEDUP_LOGS": "0",
        "RAY_COLOR_PREFIX": "0",
        # A raylet on a busy machine takes longer to start than Ray waits by default.
        "RAY_raylet_start_wait_time_s": "180",
        # Ray's head keeps some 2 kB about each finished call, by default for 100,000 calls.
        "RAY_task_events_max_num_task_in_gcs": "5000",
        # Serve would let a replica that does not answer finish its requests before it is replaced.
        "RAY_SERVE_FORCE_STOP_UNHEALTHY_REPLICAS": "1",
        # How often a waiting OpenMP thread spins before it sleeps: long enough for one layer, short
        # enough to leave the core to another stage (16 clients on 2 cores: 2.3 pictures a second
        # instead of 2.1).
        "GOMP_SPINCOUNT": os.environ.get("GOMP_SPINCOUNT", "3000"),
    }
    if settings.ray_address:
        return common
    return {
        **common,
        # Despite its name, this makes Ray listen on 127.0.0.1 only, on Linux too.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
    }

"""The environment of a Ray cluster's processes."""

from __future__ import annotations

import os
import secrets

from ray_stages.settings import ROOT, Settings


def ray_environment(settings: Settings) -> dict[str, str]:
    """What all that join one Ray must agree on; a private one keeps to loopback and has a key."""
    common = {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        "RAY_USAGE_STATS_ENABLED": "0",
        # Lines that differ in numbers only are not the same line: each is of another request.
        "RAY_DEDUP_LOGS": "0",
        "RAY_COLOR_PREFIX": "0",
        # Of each call Ray's head keeps what became of it, some 2 kB; 100,000 of them by default.
        "RAY_task_events_max_num_task_in_gcs": "5000",
        # One that does not answer would be asked to finish what it has: it must go, to be replaced.
        "RAY_SERVE_FORCE_STOP_UNHEALTHY_REPLICAS": "1",
        # OpenMP threads that wait for each other spin this often, then sleep: long enough for a
        # layer, and short enough not to keep another stage from its core (16 clients on 2 cores:
        # 2.3 pictures a second instead of 2.1).
        "GOMP_SPINCOUNT": os.environ.get("GOMP_SPINCOUNT", "3000"),
    }
    if settings.ray_address:
        return common
    return {
        **common,
        # Named after other systems, but on Linux too it makes Ray keep to 127.0.0.1.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
    }

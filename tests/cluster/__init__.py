"""Tests on a Ray cluster of several nodes; run by `make cluster-test`."""

import os
import secrets

# Ray reads these on import.
os.environ.update(
    RAY_AUTH_MODE="token",
    # Processes that a test starts inherit the same token.
    RAY_AUTH_TOKEN=os.environ.get("RAY_AUTH_TOKEN") or secrets.token_hex(32),
    RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0",
    RAY_USAGE_STATS_ENABLED="0",
)

"""On a Ray cluster of several nodes; run by `make cluster-test`."""

import os
import secrets

# Ray reads these as it is imported.
os.environ.update(
    RAY_AUTH_MODE="token",
    # A process that a test starts has the same.
    RAY_AUTH_TOKEN=os.environ.get("RAY_AUTH_TOKEN") or secrets.token_hex(32),
    RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0",
    RAY_USAGE_STATS_ENABLED="0",
)

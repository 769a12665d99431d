"""Draw pictures with Latent Relay from Python: see `Client`."""

import os

# Read when gRPC is imported; without it, gRPC writes log lines of its own to standard error.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

from relay_client.client import Client
from relay_client.errors import AddressError, RequestError
from relay_client.picture import Picture, Preview, StageTime

__all__ = ["AddressError", "Client", "Picture", "Preview", "RequestError", "StageTime"]

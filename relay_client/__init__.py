"""The Python client of Latent Relay: see `Client`."""

import os

# gRPC reads this on import. Without it, gRPC writes its own log lines to standard error.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

from relay_client.client import Client
from relay_client.errors import AddressError, RequestError
from relay_client.picture import Picture, Preview, StageTime

__all__ = ["AddressError", "Client", "Picture", "Preview", "RequestError", "StageTime"]

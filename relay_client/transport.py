"""The interface between the client and a protocol."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

Tensors = Mapping[str, NDArray[Any]]

# The server has the same deadline and answers with a reason, so the client waits longer for it.
GRACE_SECONDS = 0.5


@dataclass(frozen=True)
class TritonRequest:
    """One request to one of Triton's models. outputs: the names of the tensors to return."""

    model: str
    inputs: Tensors
    outputs: tuple[str, ...]
    request_id: str = ""


class Transport(Protocol):
    """Sends requests by one protocol, without retries.

    Every method that sends raises RequestError, ConnectionError or TimeoutError. seconds: the
    deadline of the request, from now.
    """

    url: str

    def infer(self, request: TritonRequest, seconds: float) -> Tensors:
        """Returns the outputs of the request."""
        ...

    def stream(self, request: TritonRequest, seconds: float) -> Iterator[Tensors]:
        """Yields each response of a decoupled model as it comes. Closing it closes the stream."""
        ...

    def close(self) -> None: ...


def address(url: str, protocol: str, default: str) -> str:
    """Returns `url`, else the address in TRITON_HTTP or TRITON_GRPC, else the default."""
    return url or os.environ.get(f"TRITON_{protocol}") or default

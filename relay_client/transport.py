"""What a protocol has to offer the client."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

Tensors = Mapping[str, NDArray[Any]]

# The server knows the deadline too, and its answer says more than silence does: let it go first.
GRACE_SECONDS = 0.5


@dataclass(frozen=True)
class Call:
    """One request to one of Triton's models."""

    model: str
    inputs: Tensors
    outputs: tuple[str, ...]
    request_id: str = ""


class Transport(Protocol):
    """One try each; raises RequestError, ConnectionError, TimeoutError."""

    url: str

    def infer(self, call: Call, seconds: float) -> Tensors: ...

    def stream(self, call: Call, seconds: float) -> Iterator[Tensors]:
        """Every answer of a decoupled model, as it comes; closing it hangs up."""
        ...

    def close(self) -> None: ...


def address(url: str, protocol: str, default: str) -> str:
    return url or os.environ.get(f"TRITON_{protocol}") or default

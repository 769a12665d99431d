"""One Triton request on its way through a bridge."""

from __future__ import annotations

import math
import re
import time
import uuid
from dataclasses import dataclass
from typing import Any

from ray_stages.request import Tensors


@dataclass(frozen=True)
class Call:
    """`deadline` is in Unix seconds.

    The first stage names the request and sets its deadline; the later ones are told both, because
    each step of an ensemble is given the client's whole timeout anew.
    """

    id: str
    deadline: float
    tensors: Tensors
    outputs: list[str]
    accepted_before: bool
    arrived: float

    @classmethod
    def of(cls, request: Any, max_seconds: float) -> Call:
        tensors = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
        now = time.time()
        timeout = request.timeout() / 1e6 or max_seconds  # 0 microseconds where there is none
        given = float(tensors["deadline"][0]) if "deadline" in tensors else now + timeout
        told = [str(item, "utf-8", "replace") for item in tensors.get("request_id", ())]
        return cls(
            id=_printable(told[0] if told else request.request_id()) or uuid.uuid4().hex,
            deadline=now + max_seconds if math.isnan(given) else min(given, now + max_seconds),
            tensors=tensors,
            outputs=request.requested_output_names(),
            accepted_before="deadline" in tensors,
            arrived=now,
        )

    @property
    def remaining(self) -> float:
        """Seconds until the deadline."""
        return self.deadline - time.time()

    @property
    def pictures(self) -> int:
        """What the request counts for, before anything is known to be right about it."""
        return max((len(tensor) for tensor in self.tensors.values() if tensor.ndim), default=1) or 1

    @property
    def shapes(self) -> str:
        shapes = {name: "x".join(map(str, t.shape)) for name, t in self.tensors.items()}
        return ",".join(f"{name}:{shape}" for name, shape in shapes.items())


def _printable(name: str) -> str:
    """A client's request id goes into log lines, so it may not break them."""
    return re.sub(r"[^\w.:/-]", "_", name)[:64]

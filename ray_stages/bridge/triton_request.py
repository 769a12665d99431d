"""One Triton request on its way through a bridge."""

from __future__ import annotations

import math
import re
import time
import uuid
from dataclasses import dataclass
from typing import Any

from ray_stages.errors import InvalidRequest
from ray_stages.requests.fields import Tensors
from ray_stages.requests.stage_requests import Ticket

PER_PICTURE = ("prompt", "init_image", "prompt_embeds", "latents")
MOST_IN_STREAM = 1024
# A stream over gRPC tells an error as a text without its code. Its own way out, the header
# `triton_grpc_error`, ends tritonserver 2.51 by a race, now and then.
WANTS_CODES = '"error_codes":true'


@dataclass(frozen=True)
class Call:
    """`deadline` is in Unix seconds.

    The first stage names the request, and sets its deadline and generation; the later ones are
    told, because each step of an ensemble is given the client's whole timeout anew. wants_codes:
    an error's words are to begin with its code, as in `[INVALID_ARGUMENT] steps: got 0`.
    """

    id: str
    deadline: float
    tensors: Tensors
    outputs: list[str]
    generation: str
    wants_codes: bool
    accepted_before: bool
    arrived: float

    @classmethod
    def of(cls, request: Any, max_seconds: float) -> Call:
        tensors = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
        now = time.time()
        timeout = request.timeout() / 1e6 or max_seconds  # 0 microseconds where there is none
        given = float(tensors["deadline"][0]) if "deadline" in tensors else now + timeout
        return cls(
            id=printable(_told(tensors, "request_id") or request.request_id()) or uuid.uuid4().hex,
            deadline=now + max_seconds if math.isnan(given) else min(given, now + max_seconds),
            tensors=tensors,
            outputs=request.requested_output_names(),
            generation=_told(tensors, "generation"),
            wants_codes=WANTS_CODES in request.parameters(),
            accepted_before="deadline" in tensors,
            arrived=now,
        )

    @property
    def remaining(self) -> float:
        """Seconds until the deadline."""
        return self.deadline - time.time()

    @property
    def ticket(self) -> Ticket:
        return Ticket(self.id, self.deadline)

    @property
    def sequence(self) -> tuple[int, int, bool]:
        """Which stream, which number in it, whether the last; else a stream of its own."""
        if "sequence" not in self.tensors:
            return id(self), 0, True
        stream, number, last = (int(value) for value in self.tensors["sequence"])
        if not 0 <= number < MOST_IN_STREAM:
            raise InvalidRequest("sequence", number, f"0 to {MOST_IN_STREAM - 1}")
        return stream, number, bool(last)

    @property
    def pictures(self) -> int:
        """What the request counts for, before anything is known to be right about it."""
        return max(
            (len(self.tensors[name]) for name in PER_PICTURE if name in self.tensors), default=1
        )

    @property
    def shapes(self) -> str:
        shapes = {name: "x".join(map(str, t.shape)) for name, t in self.tensors.items()}
        return ",".join(f"{name}:{shape}" for name, shape in shapes.items())


def _told(tensors: Tensors, name: str) -> str:
    """By an earlier stage."""
    return "".join(str(item, "utf-8", "replace") for item in tensors.get(name, ())[:1])


def printable(name: str) -> str:
    """A client's request id goes into log lines, so it may not break them."""
    return re.sub(r"[^\w.:/-]", "_", name)[:64]

"""One Triton request, read once: its tensors, id, deadline and what it asks for."""

from __future__ import annotations

import hashlib
import math
import re
import time
import uuid
from dataclasses import dataclass
from typing import Any

from ray_stages.errors import InvalidRequest
from ray_stages.requests.fields import Tensors
from ray_stages.requests.stage_requests import RequestContext

PER_PICTURE_INPUTS = ("prompt", "init_image", "prompt_embeds", "latents")
MAX_STREAM_LENGTH = 1024
# A gRPC stream carries an error as text without its code. Triton's own remedy, the header
# `triton_grpc_error`, now and then ends tritonserver 2.51 by a race.
ERROR_CODES_PARAMETER = '"error_codes":true'


@dataclass(frozen=True)
class TritonRequest:
    """A request as the bridge of one stage sees it.

    The first stage of an ensemble gives the request its id, deadline and generation. It passes them
    to the later stages as tensors, because Triton gives each step the client's whole timeout anew.

    deadline: in Unix seconds.
    outputs: names of the requested output tensors.
    wants_error_codes: error messages begin with the code, as in `[INVALID_ARGUMENT] steps: got 0`.
    accepted_before: an earlier stage has accepted the request.
    arrived: in Unix seconds.
    """

    id: str
    deadline: float
    tensors: Tensors
    outputs: list[str]
    generation: str
    wants_error_codes: bool
    accepted_before: bool
    arrived: float

    @classmethod
    def parse(cls, request: Any, max_seconds: float) -> TritonRequest:
        """Reads a `pb_utils.InferenceRequest`; the deadline is at most `max_seconds` from now."""
        tensors = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
        now = time.time()
        timeout = request.timeout() / 1e6 or max_seconds  # 0 microseconds: the client set none
        given = float(tensors["deadline"][0]) if "deadline" in tensors else now + timeout
        request_id = _text(tensors, "request_id") or request.request_id()
        return cls(
            id=printable(request_id) or uuid.uuid4().hex,
            deadline=now + max_seconds if math.isnan(given) else min(given, now + max_seconds),
            tensors=tensors,
            outputs=request.requested_output_names(),
            generation=_text(tensors, "generation"),
            wants_error_codes=ERROR_CODES_PARAMETER in request.parameters(),
            accepted_before="deadline" in tensors,
            arrived=now,
        )

    @property
    def remaining_seconds(self) -> float:
        return self.deadline - time.time()

    @property
    def context(self) -> RequestContext:
        return RequestContext(self.id, self.deadline)

    @property
    def sequence(self) -> tuple[int, int, bool]:
        """Stream id, number in the stream, and whether it is the last one.

        A request without the tensor `sequence` is a stream of its own.
        """
        if "sequence" not in self.tensors:
            return id(self), 0, True
        stream, number, last = (int(value) for value in self.tensors["sequence"])
        if not 0 <= number < MAX_STREAM_LENGTH:
            raise InvalidRequest("sequence", number, f"0 to {MAX_STREAM_LENGTH - 1}")
        return stream, number, bool(last)

    @property
    def picture_count(self) -> int:
        """How many pictures the request counts as; its inputs need not be valid yet."""
        counts = (len(self.tensors[name]) for name in PER_PICTURE_INPUTS if name in self.tensors)
        return max(counts, default=1)

    @property
    def shapes(self) -> str:
        """Names and shapes of the inputs, for the log: `prompt:1,steps:1`."""
        shapes = {name: "x".join(map(str, t.shape)) for name, t in self.tensors.items()}
        return ",".join(f"{name}:{shape}" for name, shape in shapes.items())


def _text(tensors: Tensors, name: str) -> str:
    """Returns the first item of a BYTES tensor, or "" if there is none."""
    return "".join(str(item, "utf-8", "replace") for item in tensors.get(name, ())[:1])


def printable(name: str) -> str:
    """Returns a name for log lines, of at most 64 characters: a client may choose any request id.

    A name that has to be changed gets a digest of the whole, so that two ids never become one.
    What this function returned stays as it is.
    """
    if re.fullmatch(r"[\w.:/-]{0,64}|[\w.:/-]{1,47}~[0-9a-f]{16}", name):
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    return re.sub(r"[^\w.:/-]", "_", name)[:47] + "~" + digest[:16]

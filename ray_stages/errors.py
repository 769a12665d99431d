"""Errors of a request, each with its Triton error code, and the error of a stack that does not run.

RelayError
├── InvalidRequest      INVALID_ARG   the client asked for something outside the limits
├── Overloaded          UNAVAILABLE   more is in flight than the service accepts
├── Draining            UNAVAILABLE   the service is stopping and takes no new requests
├── DeadlineExceeded    UNAVAILABLE   the client's timeout has passed (Triton has no such code)
├── StageUnavailable    UNAVAILABLE   the replica died in every attempt
├── RequestCancelled    CANCELLED     the client cancelled the request or closed its connection
└── StageFailed         INTERNAL      a bug: the log has the traceback under the request's id

StackFailed             for the operator; no client sees it
"""

from __future__ import annotations

from typing import ClassVar


class RelayError(Exception):
    """Base of all errors that a client may see; the message is written for the client.

    code: the name of the constant in Triton's `TritonError`.
    kind: the label of the metric `latent_relay_failures_total`.
    """

    code: ClassVar[str] = "INTERNAL"
    kind: ClassVar[str] = "internal"

    @property
    def grpc_code(self) -> str:
        """The name of the same code in gRPC."""
        return {"INVALID_ARG": "INVALID_ARGUMENT"}.get(self.code, self.code)


class InvalidRequest(RelayError):
    """A field of the request is outside its limits; the message names field, value and limit.

    The text of a prompt is private, so callers pass its length or type as the value.
    """

    code = "INVALID_ARG"
    kind = "invalid"

    def __init__(self, field: str, value: object, limit: str) -> None:
        super().__init__(field, value, limit)
        self.field = field

    def __str__(self) -> str:
        field, value, limit = self.args
        return f"{field}: got {value}, expected {limit}"


class Overloaded(RelayError):
    code = "UNAVAILABLE"
    kind = "overloaded"


class Draining(RelayError):
    code = "UNAVAILABLE"
    kind = "draining"


class DeadlineExceeded(RelayError):
    code = "UNAVAILABLE"
    kind = "deadline"


class StageUnavailable(RelayError):
    code = "UNAVAILABLE"
    kind = "unavailable"


class RequestCancelled(RelayError):
    code = "CANCELLED"
    kind = "cancelled"


class StageFailed(RelayError):
    code = "INTERNAL"
    kind = "internal"


class StackFailed(Exception):
    """A part did not start or keeps ending; the message names the part and its log."""

"""What can go wrong: with a request, and which Triton code says so; and with a stack.

RelayError
├── InvalidRequest      INVALID_ARG   the client asked for something outside the limits
├── Overloaded          UNAVAILABLE   more is in flight than the service accepts
├── Draining            UNAVAILABLE   the service is stopping, and takes no new work
├── DeadlineExceeded    UNAVAILABLE   the client's timeout has passed (Triton has no such code)
├── StageUnavailable    UNAVAILABLE   every attempt met a dead replica
├── RequestCancelled    CANCELLED     the client no longer wants the answer
└── StageFailed         INTERNAL      a bug: the log has the traceback under the request's id

StackFailed             for the operator: no client sees it
"""

from __future__ import annotations

from typing import ClassVar


class RelayError(Exception):
    """Base of all errors that a client may see; the message is written for the client."""

    code: ClassVar[str] = "INTERNAL"
    kind: ClassVar[str] = "internal"

    @property
    def grpc_code(self) -> str:
        """As gRPC calls it."""
        return {"INVALID_ARG": "INVALID_ARGUMENT"}.get(self.code, self.code)


class InvalidRequest(RelayError):
    """Names the field, the value received and the limit.

    The value of a prompt is private, so callers pass its length or type instead.
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
    """A part did not start, or keeps dying; the message says which and where its log is."""

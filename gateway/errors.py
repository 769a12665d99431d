"""What goes wrong, in the words of HTTP and in the shape that OpenAI's clients read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request

from relay_client.errors import told
from relay_client.options import OPTIONS

CLIENT_CLOSED_REQUEST = 499  # nginx's, for a request that was cancelled
RETRY_SECONDS = 1
STATUSES = {
    "INVALID_ARGUMENT": 400,
    "NOT_FOUND": 503,  # of a model: this Triton serves something else
    "CANCELLED": CLIENT_CLOSED_REQUEST,
    "RESOURCE_EXHAUSTED": 503,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "invalid_request_error",
    409: "conflict_error",
    413: "invalid_request_error",
    422: "idempotency_error",
    429: "rate_limit_error",
    CLIENT_CLOSED_REQUEST: "cancelled_error",
    503: "unavailable_error",
    504: "timeout_error",
}
# Triton has no code of its own for it.
LATE = re.compile(r"deadline of request \S+ has passed|Timeout")
NO_SERVER = re.compile(r"failed to connect|Connection refused|Socket closed|DNS resolution")
NO_OBJECT = "expected a JSON object, sent as Content-Type: application/json"
FIELD = re.compile(rf"({'|'.join([*OPTIONS, 'prompt', 'init_image', 'strength'])}): ")
# What Triton's inputs are called here.
PARAMS = {"init_image": "image", "width": "size", "height": "size"}


class Reason(BaseModel):
    message: str
    type: str
    param: str | None
    code: str | None


class Refusal(BaseModel):
    """As OpenAI's clients read it."""

    error: Reason


# For the documentation: without it FastAPI promises a 422 of its own, which is never sent.
DOCUMENTED: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": Refusal, "description": "The request is at fault"},
    "5XX": {"model": Refusal, "description": "Too busy, too late, or a bug"},
}


class Failed(HTTPException):
    """Answered with a status and a reason that is written for the client.

    param: the field that is at fault; code: for programs, where the status says too little.
    """

    def __init__(
        self, status: int, message: str, *, param: str | None = None, code: str | None = None
    ) -> None:
        headers = {"Retry-After": str(RETRY_SECONDS)} if status in (429, 503) else None
        super().__init__(status, message, headers)
        self.param = param
        self.code = code

    @classmethod
    def as_triton_says(cls, code: str, details: str) -> Failed:
        code, reason = told(code, details)
        if code == "UNAVAILABLE" and NO_SERVER.search(reason):
            return cls(503, "no Triton server can be reached", code="no_server")
        if code == "UNAVAILABLE" and LATE.search(reason):
            code = "DEADLINE_EXCEEDED"
        found = FIELD.match(reason)
        return cls(
            STATUSES.get(code, 500),
            reason or code,
            param=found and PARAMS.get(found[1], found[1]),
            code=code.lower(),
        )

    @property
    def document(self) -> dict[str, Any]:
        return document(self.status_code, self.detail, self.param, self.code)

    def response(self) -> JSONResponse:
        return JSONResponse(self.document, self.status_code, self.headers)


def document(
    status: int, message: str, param: str | None = None, code: str | None = None
) -> dict[str, Any]:
    kind = TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def wrong_field(errors: Sequence[Any]) -> Failed:
    """The first of pydantic's complaints; what was said stays private."""
    first: Mapping[str, Any] = errors[0]
    if first["type"] == "model_attributes_type":
        return Failed(400, NO_OBJECT)
    names = [part for part in first["loc"] if isinstance(part, str)]
    place = [name for name in names if name not in ("body", "query", "path")]
    param = place[0] if place else None
    message = str(first["msg"]).removeprefix("Value error, ")
    return Failed(400, f"{param}: {message}" if param else message, param=param)


async def answer_failure(request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, Failed):
        return error.response()
    if isinstance(error, RequestValidationError):
        return wrong_field(error.errors()).response()
    assert isinstance(error, HTTPException)
    return JSONResponse(
        document(error.status_code, str(error.detail)), error.status_code, error.headers
    )

"""HTTP errors, in the shape that OpenAI's clients read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request

from relay_client.errors import parse_error
from relay_client.options import OPTIONS

CLIENT_CLOSED_REQUEST = 499  # nginx's, for a request that was cancelled
RETRY_AFTER_SECONDS = 1
STATUS_OF_GRPC_CODE = {
    "INVALID_ARGUMENT": 400,
    "NOT_FOUND": 503,  # of a model: this Triton serves something else
    "CANCELLED": CLIENT_CLOSED_REQUEST,
    "RESOURCE_EXHAUSTED": 503,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
TYPE_OF_STATUS = {
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
# Triton reports a passed deadline as UNAVAILABLE.
DEADLINE_PASSED = re.compile(r"deadline of request \S+ has passed|Timeout")
UNREACHABLE = re.compile(r"failed to connect|Connection refused|Socket closed|DNS resolution")
NO_OBJECT = "expected a JSON object, sent as Content-Type: application/json"
TRITON_INPUT = re.compile(rf"({'|'.join([*OPTIONS, 'prompt', 'init_image', 'strength'])}): ")
# Triton inputs whose field has another name in HTTP.
FIELD_OF_INPUT = {"init_image": "image", "width": "size", "height": "size"}


class ErrorDetail(BaseModel):
    message: str
    type: str
    param: str | None
    code: str | None


class ErrorResponse(BaseModel):
    """The body of every error."""

    error: ErrorDetail


# Without it, FastAPI's OpenAPI document has a 422 that the gateway never sends.
ERROR_RESPONSES: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorResponse, "description": "The request is at fault"},
    "5XX": {"model": ErrorResponse, "description": "Too busy, too late, or a bug"},
}


class ApiError(HTTPException):
    """An error with a status and a message for the client.

    param: the field at fault; code: a name for programs, where the status is not precise enough.
    """

    def __init__(
        self, status: int, message: str, *, param: str | None = None, code: str | None = None
    ) -> None:
        headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if status in (429, 503) else None
        super().__init__(status, message, headers)
        self.param = param
        self.code = code

    @classmethod
    def from_triton(cls, code: str, details: str) -> ApiError:
        """code: the name of a gRPC status; details: Triton's message."""
        code, reason = parse_error(code, details)
        if code == "UNAVAILABLE" and UNREACHABLE.search(reason):
            return cls(503, "no Triton server can be reached", code="no_server")
        if code == "UNAVAILABLE" and DEADLINE_PASSED.search(reason):
            code = "DEADLINE_EXCEEDED"
        found = TRITON_INPUT.match(reason)
        return cls(
            STATUS_OF_GRPC_CODE.get(code, 500),
            reason or code,
            param=found and FIELD_OF_INPUT.get(found[1], found[1]),
            code=code.lower(),
        )

    @classmethod
    def from_validation(cls, errors: Sequence[Any]) -> ApiError:
        """The first of pydantic's errors, without the client's value: that stays private."""
        first: Mapping[str, Any] = errors[0]
        if first["type"] == "model_attributes_type":
            return cls(400, NO_OBJECT)
        names = [part for part in first["loc"] if isinstance(part, str)]
        place = [name for name in names if name not in ("body", "query", "path")]
        param = place[0] if place else None
        message = str(first["msg"]).removeprefix("Value error, ")
        return cls(400, f"{param}: {message}" if param else message, param=param)

    @property
    def document(self) -> dict[str, Any]:
        return error_document(self.status_code, self.detail, self.param, self.code)

    def response(self) -> JSONResponse:
        return JSONResponse(self.document, self.status_code, self.headers)


def error_document(
    status: int, message: str, param: str | None = None, code: str | None = None
) -> dict[str, Any]:
    kind = TYPE_OF_STATUS.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


async def handle_error(request: Request, error: Exception) -> JSONResponse:
    """FastAPI's exception handler."""
    if isinstance(error, ApiError):
        return error.response()
    if isinstance(error, RequestValidationError):
        return ApiError.from_validation(error.errors()).response()
    assert isinstance(error, HTTPException)
    document = error_document(error.status_code, str(error.detail))
    return JSONResponse(document, error.status_code, error.headers)

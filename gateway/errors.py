"""What goes wrong, in the words of HTTP and in the shape that OpenAI's clients read.

Failed
├── Refused      whatever the gateway itself does not let through
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

CLIENT_CLOSED_REQUEST = 499  # nginx's, for a request that was cancelled
RETRY_SECONDS = 1
STATUSES = {
    "INVALID_ARGUMENT": 400,
    "NOT_FOUND": 404,
    "CANCELLED": CLIENT_CLOSED_REQUEST,
    "RESOURCE_EXHAUSTED": 503,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
KINDS = {400: "invalid_request_error", 401: "authentication_error", 429: "rate_limit_error"}

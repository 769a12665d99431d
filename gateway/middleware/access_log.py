"""The access log. It names each request, logs a line, counts it, and answers uncaught errors."""

from __future__ import annotations

import json
import logging
import re
import secrets
import time
import uuid
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.errors import CLIENT_CLOSED_REQUEST, ApiError
from gateway.jobs.store import STORE_ERRORS
from gateway.metrics import Metrics

log = logging.getLogger("gateway.middleware.access_log")
SAFE_ID = re.compile(r"[\w.:-]{1,48}", re.ASCII)


def request_id(request: Request) -> str:
    return str(request.state.request_id)


def triton_request_id(request: Request) -> str:
    """A unique id for Triton, which cancels by it: clients may give two requests the same id."""
    return f"{request_id(request)}.{secrets.token_hex(4)}"


class AccessLog:
    """A line has no prompt: the route stands for the path, and the query is left out."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        started = time.monotonic()
        offered = Headers(scope=scope).get("x-request-id", "")
        id = offered if SAFE_ID.fullmatch(offered) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = id
        status, size = CLIENT_CLOSED_REQUEST, 0

        async def send_counted(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-Id"] = id
            size += len(message.get("body", b""))
            await send(message)

        try:
            with self._metrics.in_flight.track_inprogress():
                await self._app(scope, receive, send_counted)
        except Exception as error:
            if status != CLIENT_CLOSED_REQUEST:  # too late for another answer
                raise
            await _api_error(error, id).response()(scope, receive, send_counted)
        finally:
            self._record(scope, status, time.monotonic() - started, size)
        return None

    def _record(self, scope: Scope, status: int, seconds: float, size: int) -> None:
        route = getattr(scope.get("route"), "path", "") or "other"
        self._metrics.requests.labels(route, status).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        state: dict[str, Any] = scope["state"]
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "request_id": state["request_id"],
            "caller": state.get("caller", ""),
            "method": scope["method"],
            "route": route,
            "status": status,
            "ms": round(1000 * seconds, 1),
            "bytes": size,
        }
        log.info(json.dumps(line))


def _api_error(error: Exception, id: str) -> ApiError:
    """What the client is told of an error. The log has the cause of an unexpected one."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, STORE_ERRORS):
        logging.getLogger(__name__).error("the store: %s", error)
        return ApiError(503, "the store is full or out of reach", code="no_store")
    logging.getLogger(__name__).error("request %s", id, exc_info=error)
    return ApiError(500, f"it failed; the log knows request {id}")

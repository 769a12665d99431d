"""Names each request, writes a line about it, counts it, and answers whatever went wrong."""

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

from gateway.errors import CLIENT_CLOSED_REQUEST, Failed
from gateway.jobs.store import STORE_ERRORS
from gateway.metrics import Metrics

log = logging.getLogger("gateway.middleware.access_log")
SAFE = re.compile(r"[\w.:-]{1,48}", re.ASCII)


def request_id(request: Request) -> str:
    return str(request.state.request_id)


def triton_id(request: Request) -> str:
    """Of its own, since Triton cancels by it, and a client may call two requests the same."""
    return f"{request_id(request)}.{secrets.token_hex(4)}"


class Access:
    """The line has no prompts: no query, and of the path only which route it is."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        begun = time.monotonic()
        offered = Headers(scope=scope).get("x-request-id", "")
        name = offered if SAFE.fullmatch(offered) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = name
        status, size = CLIENT_CLOSED_REQUEST, 0

        async def tell(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-Id"] = name
            size += len(message.get("body", b""))
            await send(message)

        try:
            with self._metrics.in_flight.track_inprogress():
                await self._app(scope, receive, tell)
        except Exception as error:
            if status != CLIENT_CLOSED_REQUEST:  # too late for another answer
                raise
            await _as_failure(error, name).response()(scope, receive, tell)
        finally:
            self._note(scope, status, time.monotonic() - begun, size)
        return None

    def _note(self, scope: Scope, status: int, seconds: float, size: int) -> None:
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


def _as_failure(error: Exception, name: str) -> Failed:
    if isinstance(error, Failed):
        return error
    if isinstance(error, STORE_ERRORS):
        logging.getLogger(__name__).error("the store: %s", error)
        return Failed(503, "the store is full or out of reach", code="no_store")
    logging.getLogger(__name__).error("request %s", name, exc_info=error)
    return Failed(500, f"it failed; the log knows request {name}")

"""Who may come in, and how often."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from limits import parse
from limits.aio.strategies import MovingWindowRateLimiter
from limits.storage import storage_from_string
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.errors import Failed
from gateway.settings import GatewaySettings

GUARDED = re.compile(r"/(v1/.*|imagine|metrics)", re.DOTALL)  # a path may hold a newline
# Who was told such an address may fetch it: an <img> cannot send a key.
FETCHED = re.compile(r"/v1/(images/files/[^/]+|jobs/[^/]+/images/[^/]+)")
PORT = re.compile(r":\d+$")
ANYONE = "anyone"


class Door:
    def __init__(self, app: ASGIApp, settings: GatewaySettings) -> None:
        self._app = app
        self._settings = settings
        self._keys = settings.keys()
        self._rate = parse(settings.rate_limit)
        self._limiter = MovingWindowRateLimiter(_rate_storage(settings.store))
        self._at_work: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        headers, path = Headers(scope=scope), scope["path"]
        self._check_host(headers)
        if not GUARDED.fullmatch(path):
            return await self._app(scope, receive, send)
        if not self._settings.needs_keys:
            self._check_site(scope, headers)
        if FETCHED.fullmatch(path):
            return await self._app(scope, receive, send)
        caller = self._caller(headers)
        scope["state"]["caller"] = caller
        if not (scope["method"] == "POST" or path == "/imagine"):
            return await self._app(scope, receive, send)
        client = scope["client"][0] if scope.get("client") else ""
        who = client if caller == ANYONE else caller
        with self._working(who):
            await self._count(who)
            return await self._app(scope, receive, send)

    def _check_host(self, headers: Headers) -> None:
        host = PORT.sub("", headers.get("host", "")).lower()
        if self._settings.hosts and host not in self._settings.hosts:
            raise Failed(421, "this host is not served here; see ALLOWED_HOSTS", code="wrong_host")

    def _check_site(self, scope: Scope, headers: Headers) -> None:
        """Pages of other sites may not use what needs no key in the name of who looks at them."""
        origin = headers.get("origin")
        allowed = self._settings.cors_origins
        if "*" in allowed or (origin is not None and origin in allowed):
            return
        own = f"{scope['scheme']}://{headers.get('host', '')}"
        foreign = origin not in (None, own)
        # A picture on a page: a browser that is new enough says so. To follow a link is fine.
        embedded = headers.get("sec-fetch-site") == "cross-site" and (
            headers.get("sec-fetch-dest") != "document" or scope["method"] != "GET"
        )
        if foreign or embedded:
            raise Failed(403, "not from another site's page; see CORS_ORIGINS", code="wrong_origin")

    def _caller(self, headers: Headers) -> str:
        if not self._settings.needs_keys:
            return ANYONE
        scheme, _, key = headers.get("authorization", "").partition(" ")
        name = self._keys.name_of(key.strip()) if scheme.lower() == "bearer" else None
        if name is None:
            failed = Failed(401, "expected a key: Authorization: Bearer …", code="invalid_api_key")
            failed.headers = {"WWW-Authenticate": "Bearer"}
            raise failed
        return name

    @contextmanager
    def _working(self, who: str) -> Iterator[None]:
        most = self._settings.concurrent_requests
        if self._at_work[who] >= most:
            raise Failed(429, f"{most} requests are in flight already", code="too_many_at_once")
        self._at_work[who] += 1
        try:
            yield
        finally:
            self._at_work[who] -= 1
            if not self._at_work[who]:
                del self._at_work[who]

    async def _count(self, who: str) -> None:
        if not await self._limiter.hit(self._rate, who):
            stats = await self._limiter.get_window_stats(self._rate, who)
            failed = Failed(429, f"the limit is {self._rate}", code="rate_limit_exceeded")
            failed.headers = {"Retry-After": str(max(1, round(stats.reset_time - time.time())))}
            raise failed


def _rate_storage(store: str) -> Any:
    """Shared where the store is."""
    if store.startswith(("redis://", "rediss://")):
        return storage_from_string(f"async+{store}", implementation="redispy")
    return storage_from_string("async+memory://")

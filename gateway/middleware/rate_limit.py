"""Limits of each caller: requests at once, and requests in a period."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from limits import parse
from limits.aio.strategies import MovingWindowRateLimiter
from limits.storage import storage_from_string
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.addresses import client_network
from gateway.errors import ApiError
from gateway.middleware.authentication import ANYONE
from gateway.middleware.protected_paths import needs_key
from gateway.settings import GatewaySettings


class RateLimit:
    """Counts requests that draw, by key, or without keys by client address; of IPv6, its /64.

    Raises ApiError with status 429.
    """

    def __init__(self, app: ASGIApp, settings: GatewaySettings) -> None:
        self._app = app
        self._max_concurrent = settings.concurrent_requests
        self._rate = parse(settings.rate_limit)
        self._limiter = MovingWindowRateLimiter(_rate_storage(settings.store))
        self._in_flight: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _is_limited(scope):
            return await self._app(scope, receive, send)
        caller = scope["state"]["caller"]
        address = client_network(scope["client"][0]) if scope.get("client") else ""
        who = address if caller == ANYONE else caller
        with self._in_flight_of(who):
            await self._count(who)
            return await self._app(scope, receive, send)

    @contextmanager
    def _in_flight_of(self, who: str) -> Iterator[None]:
        limit = self._max_concurrent
        if self._in_flight[who] >= limit:
            raise ApiError(429, f"{limit} requests are in flight already", code="too_many_at_once")
        self._in_flight[who] += 1
        try:
            yield
        finally:
            self._in_flight[who] -= 1
            if not self._in_flight[who]:
                del self._in_flight[who]

    async def _count(self, who: str) -> None:
        if not await self._limiter.hit(self._rate, who):
            stats = await self._limiter.get_window_stats(self._rate, who)
            error = ApiError(429, f"the limit is {self._rate}", code="rate_limit_exceeded")
            error.headers = {"Retry-After": str(max(1, round(stats.reset_time - time.time())))}
            raise error


def _is_limited(scope: Scope) -> bool:
    path = scope["path"]
    return needs_key(path) and (scope["method"] == "POST" or path == "/imagine")


def _rate_storage(store: str) -> Any:
    """Counts are shared between gateways where the store is Redis."""
    if store.startswith(("redis://", "rediss://")):
        return storage_from_string(f"async+{store}", implementation="redispy")
    return storage_from_string("async+memory://")

"""Checks of `Host` and `Origin`: pages of other sites may not use the gateway."""

from __future__ import annotations

import re

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.errors import ApiError
from gateway.middleware.protected_paths import PROTECTED
from gateway.settings import GatewaySettings

PORT = re.compile(r":\d+$")


class RequestOrigin:
    """Raises ApiError: 421 for a host that is not served, 403 for a page of another site."""

    def __init__(self, app: ASGIApp, settings: GatewaySettings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            self._check_host(headers)
            if PROTECTED.fullmatch(scope["path"]) and not self._settings.needs_keys:
                self._check_origin(scope, headers)
        await self._app(scope, receive, send)

    def _check_host(self, headers: Headers) -> None:
        host = PORT.sub("", headers.get("host", "")).lower()
        if self._settings.hosts and host not in self._settings.hosts:
            message = "this host is not served here; see ALLOWED_HOSTS"
            raise ApiError(421, message, code="wrong_host")

    def _check_origin(self, scope: Scope, headers: Headers) -> None:
        """Without keys, a page of another site could act in the name of its visitor."""
        origin = headers.get("origin")
        allowed = self._settings.cors_origins
        if "*" in allowed or (origin is not None and origin in allowed):
            return
        own = f"{scope['scheme']}://{headers.get('host', '')}"
        foreign = origin not in (None, own)
        # A browser sends no Origin for an <img>, but a recent one says that it is cross-site. A
        # link from another site is allowed.
        embedded = headers.get("sec-fetch-site") == "cross-site" and (
            headers.get("sec-fetch-dest") != "document" or scope["method"] != "GET"
        )
        if foreign or embedded:
            message = "not from another site's page; see CORS_ORIGINS"
            raise ApiError(403, message, code="wrong_origin")

"""Authentication by API key: `Authorization: Bearer <key>`."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.errors import ApiError
from gateway.keys import ApiKeys
from gateway.middleware.protected_paths import needs_key
from gateway.settings import GatewaySettings

ANYONE = "anyone"


class Authentication:
    """Sets `state["caller"]` on protected paths: the key's name, or `anyone` without keys.

    Raises ApiError with status 401 where the key is missing or unknown.
    """

    def __init__(self, app: ASGIApp, settings: GatewaySettings, keys: ApiKeys) -> None:
        self._app = app
        self._needs_keys = settings.needs_keys
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and needs_key(scope["path"]):
            scope["state"]["caller"] = self._caller(Headers(scope=scope))
        await self._app(scope, receive, send)

    def _caller(self, headers: Headers) -> str:
        if not self._needs_keys:
            return ANYONE
        scheme, _, key = headers.get("authorization", "").partition(" ")
        name = self._keys.name_of(key.strip()) if scheme.lower() == "bearer" else None
        if name is None:
            error = ApiError(401, "expected a key: Authorization: Bearer …", code="invalid_api_key")
            error.headers = {"WWW-Authenticate": "Bearer"}
            raise error
        return name

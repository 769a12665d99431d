"""The ASGI application.

A request passes the middleware of `_middleware` from its first line to its last, and then one of
the routers in `gateway/api`. The router makes a `GenerationRequest` of it, and `ImageService` has
Triton draw that. The response goes back the same way.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.api import images, imagine, jobs, service
from gateway.api.docs import add_docs
from gateway.dependencies import open_dependencies
from gateway.errors import ERROR_RESPONSES, ApiError, handle_error
from gateway.keys import ApiKeys
from gateway.metrics import Metrics
from gateway.middleware.access_log import AccessLog
from gateway.middleware.authentication import Authentication
from gateway.middleware.body_limit import BodyLimit
from gateway.middleware.disconnect import CancelOnDisconnect
from gateway.middleware.idempotency import Idempotency
from gateway.middleware.rate_limit import RateLimit
from gateway.middleware.request_origin import RequestOrigin
from gateway.middleware.security_headers import SecurityHeaders
from gateway.settings import GatewaySettings

PAGE = Path(__file__).parent / "page"
ROUTERS = (imagine.router, images.router, jobs.router, service.router)
HANDLED_ERRORS = (HTTPException, RequestValidationError)
EXPOSED_HEADERS = [
    *("ETag", "Idempotency-Replayed", "Location", "Retry-After", "X-Request-Id", "X-Seed")
]


def create_app(settings: GatewaySettings) -> FastAPI:
    metrics, keys = Metrics(), settings.keys()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_dependencies(settings, metrics, keys) as dependencies:
            app.state.dependencies = dependencies
            yield

    app = FastAPI(
        title="Latent Relay",
        description="Text to image. Errors have OpenAI's shape.",
        lifespan=lifespan,
        middleware=_middleware(settings, metrics, keys),
        exception_handlers=dict.fromkeys(HANDLED_ERRORS, handle_error),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    add_docs(app)
    for router in ROUTERS:
        app.include_router(router, responses=ERROR_RESPONSES)
    app.router.default = _fallback()
    return app


def _fallback() -> ASGIApp:
    """The page. Not a mount at `/`, which would match each path that has another method."""
    page = StaticFiles(directory=PAGE, html=True)

    async def fallback(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD"):
            raise ApiError(404, "no such path; see /docs", code="not_found")
        await page(scope, receive, send)

    return fallback


def _middleware(settings: GatewaySettings, metrics: Metrics, keys: ApiKeys) -> list[Middleware]:
    """In the order in which a request passes them: the first is the outermost."""
    cors: dict[str, Any] = {
        "allow_origins": settings.cors_origins,
        "allow_methods": ["GET", "POST", "DELETE"],
        "allow_headers": ["Authorization", "Content-Type", "Idempotency-Key", "X-Request-Id"],
        "expose_headers": EXPOSED_HEADERS,
    }
    return [
        Middleware(SecurityHeaders, secure=settings.tls_certificate is not None),
        Middleware(CORSMiddleware, **cors),
        Middleware(AccessLog, metrics=metrics),  # answers the errors of all that follow
        Middleware(CancelOnDisconnect),
        Middleware(BodyLimit, max_bytes=settings.max_body_bytes, seconds=settings.body_seconds),
        Middleware(RequestOrigin, settings=settings),
        Middleware(Authentication, settings=settings, keys=keys),
        Middleware(RateLimit, settings=settings),
        Middleware(Idempotency, seconds=settings.results_seconds),
    ]

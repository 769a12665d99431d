"""The application: its routes, and the layers that each request passes on its way to them."""

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

from gateway.api import images, imagine, jobs, service
from gateway.api.docs import add_docs
from gateway.dependencies import open_house
from gateway.errors import DOCUMENTED, answer_failure
from gateway.metrics import Metrics
from gateway.middleware.access_log import Access
from gateway.middleware.authentication import Door
from gateway.middleware.body_limit import BodyLimit
from gateway.middleware.disconnect import HangUp
from gateway.middleware.idempotency import Idempotency
from gateway.middleware.security_headers import SecurityHeaders
from gateway.settings import GatewaySettings

PAGE = Path(__file__).parent / "page"
EXPOSED = ["ETag", "Idempotency-Replayed", "Location", "Retry-After", "X-Request-Id", "X-Seed"]
FAILURES = (HTTPException, RequestValidationError)


def create_app(settings: GatewaySettings) -> FastAPI:
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_house(settings, metrics) as house:
            app.state.house = house
            yield

    app = FastAPI(
        title="Latent Relay",
        description="Text to image. Errors have OpenAI's shape.",
        lifespan=lifespan,
        middleware=_layers(settings, metrics),
        exception_handlers=dict.fromkeys(FAILURES, answer_failure),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    add_docs(app)
    for api in (imagine, images, jobs, service):
        app.include_router(api.router, responses=DOCUMENTED)
    if (PAGE / "index.html").exists():
        app.mount("/", StaticFiles(directory=PAGE, html=True), name="page")
    return app


def _layers(settings: GatewaySettings, metrics: Metrics) -> list[Middleware]:
    """The first is the outermost."""
    cors: dict[str, Any] = {
        "allow_origins": settings.cors_origins,
        "allow_methods": ["GET", "POST", "DELETE"],
        "allow_headers": ["Authorization", "Content-Type", "Idempotency-Key", "X-Request-Id"],
        "expose_headers": EXPOSED,
    }
    return [
        Middleware(SecurityHeaders, secure=settings.tls_certificate is not None),
        Middleware(CORSMiddleware, **cors),
        Middleware(Access, metrics=metrics),
        Middleware(HangUp),
        Middleware(BodyLimit, most=settings.max_body_bytes, seconds=settings.body_seconds),
        Middleware(Door, settings=settings),
        Middleware(Idempotency, seconds=settings.results_seconds),
    ]

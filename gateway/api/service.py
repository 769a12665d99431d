"""Routes for operators: the served model, liveness, readiness and metrics."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from gateway.dependencies import Injected
from gateway.errors import ApiError

router = APIRouter()
HEADERS = {"Cache-Control": "no-store"}


@router.head("/v1/models", include_in_schema=False)
@router.get("/v1/models", tags=["OpenAI's API"], summary="What is served")
async def models(dependencies: Injected) -> dict[str, Any]:
    return {"object": "list", "data": [dependencies.served_model.card]}


@router.head("/v1/models/{id:path}", include_in_schema=False)
@router.get("/v1/models/{id:path}", tags=["OpenAI's API"], summary="One of them")
async def model(id: str, dependencies: Injected) -> dict[str, Any]:
    dependencies.served_model.check(id)
    return dependencies.served_model.card


@router.head("/healthz", include_in_schema=False)
@router.get("/healthz", tags=["Service"], summary="Alive; costs nothing")
@router.head("/livez", include_in_schema=False)
@router.get("/livez", include_in_schema=False)
async def alive() -> dict[str, str]:
    return {"status": "ok"}


@router.head("/readyz", include_in_schema=False)
@router.get("/readyz", tags=["Service"], summary="A tiny picture goes through")
async def ready(dependencies: Injected, response: Response) -> dict[str, str]:
    if dependencies.shutting_down:
        raise ApiError(503, "not ready: it is stopping", code="not_ready")
    await dependencies.readiness.check()
    response.headers.update(HEADERS)
    if dependencies.keys.is_outdated:
        return {"status": "ready", "warning": "API_KEYS_FILE cannot be read; its last keys hold"}
    return {"status": "ready"}


@router.head("/metrics", include_in_schema=False)
@router.get(
    "/metrics",
    tags=["Service"],
    summary="For Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}}},
)
async def metrics(dependencies: Injected) -> Response:
    counts = await dependencies.store.counts()
    metrics = dependencies.metrics
    metrics.jobs.labels("queued").set(counts.waiting)
    metrics.jobs.labels("running").set(counts.running)
    return Response(metrics.exposition(), media_type=CONTENT_TYPE_LATEST, headers=HEADERS)

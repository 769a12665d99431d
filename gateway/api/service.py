"""For those who look after it: is it alive, is it ready, what does it count, what is served."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from gateway.dependencies import Here
from gateway.errors import Failed

router = APIRouter()
UNSEEN = {"Cache-Control": "no-store"}


@router.get("/v1/models", tags=["OpenAI's API"], summary="What is served")
async def models(house: Here) -> dict[str, Any]:
    return {"object": "list", "data": [house.checkpoint.card]}


@router.get("/v1/models/{id:path}", tags=["OpenAI's API"], summary="One of them")
async def model(id: str, house: Here) -> dict[str, Any]:
    house.checkpoint.check(id)
    return house.checkpoint.card


@router.get("/healthz", tags=["Service"], summary="Alive; costs nothing")
@router.get("/livez", include_in_schema=False)
async def alive() -> dict[str, str]:
    return {"status": "ok"}


@router.get("/readyz", tags=["Service"], summary="A tiny picture goes through")
async def ready(house: Here, response: Response) -> dict[str, str]:
    if house.leaving:
        raise Failed(503, "not ready: it is stopping", code="not_ready")
    await house.readiness.check()
    response.headers.update(UNSEEN)
    return {"status": "ready"}


@router.get(
    "/metrics",
    tags=["Service"],
    summary="For Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}}},
)
async def metrics(house: Here) -> Response:
    counts = await house.store.counts()
    house.metrics.jobs.labels("queued").set(counts.waiting)
    house.metrics.jobs.labels("running").set(counts.running)
    return Response(house.metrics.exposition(), media_type=CONTENT_TYPE_LATEST, headers=UNSEEN)

"""Pictures that are fetched later: for slow models, and for phones that lose the connection."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from gateway.api import events
from gateway.api.events import Events, event, respond
from gateway.api.schemas import Submission
from gateway.dependencies import Here, House
from gateway.drawing import formats
from gateway.drawing.formats import media_type
from gateway.jobs.jobs import Job

router = APIRouter(prefix="/v1/jobs", tags=["Jobs"])
LOOK_SECONDS = 0.1
NOT_KEPT = {"Cache-Control": "no-store"}
KEPT = {"Cache-Control": "private, max-age=3600, immutable"}
OVER = ("completed", "failed", "cancelled")


@router.post("", status_code=202, summary="Submit")
async def submit(asked: Submission, request: Request, house: Here) -> Response:
    house.checkpoint.check(asked.model)
    job = await house.jobs.submit(asked.wish(), asked.format, asked.previews, request.state.caller)
    house.runner.tell()
    headers = {**NOT_KEPT, "Location": str(request.url_for("job", id=job.id))}
    return JSONResponse(await _state(house, request, job), 202, headers)


@router.get("/{id}", summary="See how far it is", name="job")
async def poll(id: str, request: Request, house: Here) -> Response:
    """position: 1 goes next, null where it does not wait; data: the pictures, once completed."""
    return await _shown(house, request, await house.jobs.find(id, request.state.caller))


@router.delete("/{id}", summary="Cancel")
async def cancel(id: str, request: Request, house: Here) -> Response:
    job = await house.jobs.find(id, request.state.caller)
    await house.jobs.cancel(job)
    return await _shown(house, request, job)


@router.get(
    "/{id}/events",
    summary="Watch",
    response_class=StreamingResponse,
    responses=events.DOCUMENTED,
)
async def watch(id: str, request: Request, house: Here) -> Response:
    """An event `job` now and at each change until it is over, with `preview` (a PNG in base64) when
    there is a new one. Who connects again is told how it is then."""
    job = await house.jobs.find(id, request.state.caller)
    return await respond(_changes(house, request, job))


@router.get(
    "/{id}/images/{index}",
    summary="Fetch a picture",
    name="job_image",
    response_class=Response,
    responses=formats.DOCUMENTED,
)
async def image(id: str, index: int, house: Here) -> Response:
    file = await house.jobs.file(id, index)
    return Response(file, media_type=media_type(file), headers=KEPT)


async def _changes(house: House, request: Request, job: Job) -> Events:
    told: dict[str, Any] = {}
    shown: bytes | None = None
    while True:
        state = await _state(house, request, job)
        if state != told:
            preview = await house.jobs.preview(job) if state["status"] == "running" else None
            if preview in (None, shown):
                yield event("job", state)
            else:
                assert preview is not None
                yield event("job", {**state, "preview": base64.b64encode(preview).decode()})
            told, shown = state, preview
        if state["status"] in OVER or house.leaving:
            return
        await asyncio.sleep(LOOK_SECONDS)


async def _shown(house: House, request: Request, job: Job) -> Response:
    return JSONResponse(await _state(house, request, job), headers=NOT_KEPT)


async def _state(house: House, request: Request, job: Job) -> dict[str, Any]:
    state = await house.jobs.state(job)
    for picture in state["data"]:
        address = request.url_for("job_image", id=job.id, index=picture["index"])
        picture["url"] = str(address)
    return state

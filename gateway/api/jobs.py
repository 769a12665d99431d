"""Jobs: pictures that a client fetches later, for slow models and unsteady connections."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from gateway.api.event_stream import (
    EVENT_STREAM_RESPONSES,
    Events,
    event_stream_response,
    format_event,
)
from gateway.api.schemas import CreateJobRequest
from gateway.dependencies import Dependencies, Injected
from gateway.drawing.formats import IMAGE_RESPONSES, media_type
from gateway.jobs.jobs import Job

router = APIRouter(prefix="/v1/jobs", tags=["Jobs"])
POLL_SECONDS = 0.1
STATE_HEADERS = {"Cache-Control": "no-store"}
IMAGE_HEADERS = {"Cache-Control": "private, max-age=3600, immutable"}
ENDED = ("completed", "failed", "cancelled")


@router.post("", status_code=202, summary="Submit")
async def submit(body: CreateJobRequest, request: Request, dependencies: Injected) -> Response:
    dependencies.served_model.check(body.model)
    job = await dependencies.jobs.submit(
        body.generation_request(), body.format, body.previews, request.state.caller
    )
    dependencies.job_runner.wake()
    headers = {**STATE_HEADERS, "Location": str(request.url_for("job", id=job.id))}
    return JSONResponse(await _state(dependencies, request, job), 202, headers)


@router.head("/{id}", include_in_schema=False)
@router.get("/{id}", summary="See how far it is", name="job")
async def poll(id: str, request: Request, dependencies: Injected) -> Response:
    """`position` is 1 for the job that runs next, and null for one that does not wait. `data` has
    the pictures once the job is completed."""
    job = await dependencies.jobs.find(id, request.state.caller)
    return await _state_response(dependencies, request, job)


@router.delete("/{id}", summary="Cancel")
async def cancel(id: str, request: Request, dependencies: Injected) -> Response:
    job = await dependencies.jobs.find(id, request.state.caller)
    await dependencies.jobs.cancel(job)
    return await _state_response(dependencies, request, job)


@router.head("/{id}/events", include_in_schema=False)
@router.get(
    "/{id}/events",
    summary="Watch",
    response_class=StreamingResponse,
    responses=EVENT_STREAM_RESPONSES,
)
async def watch(id: str, request: Request, dependencies: Injected) -> Response:
    """An event `job` now and at each change until the job has ended. It has `preview` (a PNG in
    base64) when there is a new one. A client that connects again begins with the present state."""
    job = await dependencies.jobs.find(id, request.state.caller)
    if request.method == "HEAD":
        return Response(media_type="text/event-stream", headers=STATE_HEADERS)
    return await event_stream_response(_state_changes(dependencies, request, job))


@router.head("/{id}/images/{index}", include_in_schema=False)
@router.get(
    "/{id}/images/{index}",
    summary="Fetch a picture",
    name="job_image",
    response_class=Response,
    responses=IMAGE_RESPONSES,
)
async def image(id: str, index: int, dependencies: Injected) -> Response:
    file = await dependencies.jobs.file(id, index)
    return Response(file, media_type=media_type(file), headers=IMAGE_HEADERS)


async def _state_changes(dependencies: Dependencies, request: Request, job: Job) -> Events:
    sent: dict[str, Any] = {}
    sent_preview: bytes | None = None
    while True:
        state = await _state(dependencies, request, job)
        if state != sent:
            running = state["status"] == "running"
            preview = await dependencies.jobs.preview(job) if running else None
            if preview in (None, sent_preview):
                yield format_event("job", state)
            else:
                assert preview is not None
                encoded = base64.b64encode(preview).decode()
                yield format_event("job", {**state, "preview": encoded})
            sent, sent_preview = state, preview
        if state["status"] in ENDED or dependencies.shutting_down:
            return
        await asyncio.sleep(POLL_SECONDS)


async def _state_response(dependencies: Dependencies, request: Request, job: Job) -> Response:
    return JSONResponse(await _state(dependencies, request, job), headers=STATE_HEADERS)


async def _state(dependencies: Dependencies, request: Request, job: Job) -> dict[str, Any]:
    state = await dependencies.jobs.state(job)
    for picture in state["data"]:
        picture["url"] = str(request.url_for("job_image", id=job.id, index=picture["index"]))
    return state

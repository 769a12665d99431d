"""OpenAI's Images API: requests that wait for their pictures."""

from __future__ import annotations

import base64
import secrets
import time
from contextlib import aclosing
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import JSONResponse

from gateway.api.event_stream import (
    EVENT_STREAM_RESPONSES,
    Events,
    event_stream_response,
    format_event,
)
from gateway.api.schemas import CreateImageEditRequest, CreateImageRequest, ImmediateImageRequest
from gateway.dependencies import Dependencies, Injected
from gateway.drawing.formats import IMAGE_RESPONSES, media_type
from gateway.drawing.generation_request import GenerationRequest
from gateway.errors import ApiError
from gateway.middleware.access_log import triton_request_id
from relay_client.picture import Picture

router = APIRouter(prefix="/v1/images", tags=["OpenAI's API"])
# The gateway counts no tokens, but OpenAI's client requires the field.
NO_TOKENS = {
    "input_tokens": 0,
    "output_tokens": 0,
    "total_tokens": 0,
    "input_tokens_details": {"image_tokens": 0, "text_tokens": 0},
}
FILE_HEADERS = {"Cache-Control": "private, max-age=3600, immutable"}


@router.post("/generations", summary="Draw", responses=EVENT_STREAM_RESPONSES)
async def generations(
    body: CreateImageRequest, request: Request, dependencies: Injected
) -> Response:
    dependencies.served_model.check(body.model)
    generation = body.generation_request()
    return await _respond(dependencies, request, body, generation, "image_generation")


@router.post("/edits", summary="Draw from a picture", responses=EVENT_STREAM_RESPONSES)
async def edits(
    body: Annotated[CreateImageEditRequest, Form(media_type="multipart/form-data")],
    request: Request,
    dependencies: Injected,
) -> Response:
    dependencies.served_model.check(body.model)
    generation = await body.generation_request()
    return await _respond(dependencies, request, body, generation, "image_edit")


@router.post("/variations", include_in_schema=False)
async def variations() -> Response:
    reason = "there are no variations; /v1/images/edits draws from a picture, with a strength"
    raise ApiError(404, reason, code="not_supported")


@router.head("/files/{id}", include_in_schema=False)
@router.get(
    "/files/{id}",
    summary="Fetch a picture that was answered with response_format=url",
    name="file",
    response_class=Response,
    responses=IMAGE_RESPONSES,
)
async def file(id: str, dependencies: Injected) -> Response:
    content = await dependencies.store.get(f"file:{id}")
    if content is None:
        raise ApiError(404, "no such picture, or it has expired", code="picture_not_found")
    return Response(content, media_type=media_type(content), headers=FILE_HEADERS)


async def _respond(
    dependencies: Dependencies,
    request: Request,
    body: ImmediateImageRequest,
    generation: GenerationRequest,
    event_prefix: str,
) -> Response:
    request_id = triton_request_id(request)
    if body.stream:
        events = _events(dependencies, request_id, body, generation, event_prefix)
        return await event_stream_response(events)
    pictures = await dependencies.image_service.draw(generation, request_id)
    data = [await _data_item(dependencies, request, body, picture) for picture in pictures]
    document = {**_image_fields(body, pictures[0]), "created": int(time.time()), "data": data}
    return JSONResponse(document, headers={"Cache-Control": "no-store"})


async def _events(
    dependencies: Dependencies,
    request_id: str,
    body: ImmediateImageRequest,
    generation: GenerationRequest,
    prefix: str,
) -> Events:
    """Events `<prefix>.partial_image`, then one `<prefix>.completed` for each picture."""
    shown = 0
    previews = body.partial_images or 0
    stream = dependencies.image_service.stream(generation, request_id, previews)
    async with aclosing(stream):
        async for preview in stream:
            name = f"{prefix}.{'completed' if preview.is_final else 'partial_image'}"
            for index, picture in enumerate(preview.pictures):
                data = {
                    "type": name,
                    "b64_json": await _base64(body, picture),
                    "created_at": int(time.time()),
                    **_image_fields(body, picture),
                    "index": index,
                    "seed": picture.seed,
                    "step": preview.step,
                    "steps": preview.steps,
                }
                if preview.is_final:
                    data["usage"] = NO_TOKENS
                else:
                    data["partial_image_index"] = shown
                yield format_event(name, data)
            shown += 1


async def _data_item(
    dependencies: Dependencies, request: Request, body: ImmediateImageRequest, picture: Picture
) -> dict[str, Any]:
    """One item of `data`: the file itself, or the URL at which the store has it for a while."""
    if body.response_format != "url":
        return {"b64_json": await _base64(body, picture), "seed": picture.seed}
    id = secrets.token_urlsafe(16)
    encoded = await body.format.encode(picture.png)
    await dependencies.store.put(f"file:{id}", encoded, dependencies.settings.results_seconds)
    return {"url": str(request.url_for("file", id=id)), "seed": picture.seed}


async def _base64(body: ImmediateImageRequest, picture: Picture) -> str:
    return base64.b64encode(await body.format.encode(picture.png)).decode()


def _image_fields(body: ImmediateImageRequest, picture: Picture) -> dict[str, Any]:
    width, height = picture.size
    return {
        "size": f"{width}x{height}",
        "output_format": body.format.name,
        "quality": "high",
        "background": "opaque",
    }

"""OpenAI's API for pictures: those that are waited for."""

from __future__ import annotations

import base64
import secrets
import time
from contextlib import aclosing
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import JSONResponse

from gateway.api import events
from gateway.api.events import Events, event, respond
from gateway.api.schemas import Edit, Generation, Immediate
from gateway.dependencies import Here, House
from gateway.drawing import formats
from gateway.drawing.formats import media_type
from gateway.drawing.generation import Wish
from gateway.errors import Failed
from gateway.middleware.access_log import triton_id
from relay_client.picture import Picture

router = APIRouter(prefix="/v1/images", tags=["OpenAI's API"])
# Nothing here is counted in tokens, but OpenAI's client expects to be told.
NO_TOKENS = {
    "input_tokens": 0,
    "output_tokens": 0,
    "total_tokens": 0,
    "input_tokens_details": {"image_tokens": 0, "text_tokens": 0},
}
KEPT = {"Cache-Control": "private, max-age=3600, immutable"}


@router.post("/generations", summary="Draw", responses=events.DOCUMENTED)
async def generations(asked: Generation, request: Request, house: Here) -> Response:
    house.checkpoint.check(asked.model)
    return await _answer(house, request, asked, asked.wish(), "image_generation")


@router.post("/edits", summary="Draw from a picture", responses=events.DOCUMENTED)
async def edits(
    asked: Annotated[Edit, Form(media_type="multipart/form-data")], request: Request, house: Here
) -> Response:
    house.checkpoint.check(asked.model)
    return await _answer(house, request, asked, await asked.wish(), "image_edit")


@router.get(
    "/files/{id}",
    summary="Fetch what response_format=url left here",
    name="file",
    response_class=Response,
    responses=formats.DOCUMENTED,
)
async def file(id: str, house: Here) -> Response:
    kept = await house.store.get(f"file:{id}")
    if kept is None:
        raise Failed(404, "no such picture, or it has expired", code="picture_not_found")
    return Response(kept, media_type=media_type(kept), headers=KEPT)


async def _answer(
    house: House, request: Request, asked: Immediate, wish: Wish, kind: str
) -> Response:
    if asked.stream:
        return await respond(_events(house, triton_id(request), asked, wish, kind))
    drawn = await house.studio.draw(wish, triton_id(request))
    data = [await _datum(house, request, asked, picture) for picture in drawn]
    document = {**_facts(asked, drawn[0]), "created": int(time.time()), "data": data}
    return JSONResponse(document, headers={"Cache-Control": "no-store"})


async def _events(house: House, id: str, asked: Immediate, wish: Wish, kind: str) -> Events:
    shown = 0
    async with aclosing(house.studio.stream(wish, id, asked.partial_images or 0)) as previews:
        async for preview in previews:
            name = f"{kind}.{'completed' if preview.is_final else 'partial_image'}"
            for index, picture in enumerate(preview.pictures):
                data = {
                    "type": name,
                    "b64_json": await _base64(asked, picture),
                    "created_at": int(time.time()),
                    **_facts(asked, picture),
                    "index": index,
                    "seed": picture.seed,
                    "step": preview.step,
                    "steps": preview.steps,
                }
                if preview.is_final:
                    data["usage"] = NO_TOKENS
                else:
                    data["partial_image_index"] = shown
                yield event(name, data)
            shown += 1


async def _datum(
    house: House, request: Request, asked: Immediate, picture: Picture
) -> dict[str, Any]:
    if asked.response_format != "url":
        return {"b64_json": await _base64(asked, picture), "seed": picture.seed}
    id = secrets.token_urlsafe(16)
    encoded = await asked.format.encode(picture.png)
    await house.store.put(f"file:{id}", encoded, house.settings.results_seconds)
    return {"url": str(request.url_for("file", id=id)), "seed": picture.seed}


async def _base64(asked: Immediate, picture: Picture) -> str:
    return base64.b64encode(await asked.format.encode(picture.png)).decode()


def _facts(asked: Immediate, picture: Picture) -> dict[str, Any]:
    width, height = picture.size
    return {
        "size": f"{width}x{height}",
        "output_format": asked.format.name,
        "quality": "high",
        "background": "opaque",
    }

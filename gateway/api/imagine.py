"""A picture by its address alone, as Ray Serve's template for Stable Diffusion has it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from gateway.api.schemas import Imagine
from gateway.dependencies import Here
from gateway.middleware.access_log import triton_id

router = APIRouter(tags=["By address"])
# A seed is drawn the same for ever; a day leaves room for another checkpoint.
LASTING = "max-age=86400, immutable"


@router.get(
    "/imagine",
    summary="Draw",
    response_class=Response,
    responses={200: {"content": {"image/png": {}}}, 304: {"description": "It is still so"}},
)
async def imagine(asked: Annotated[Imagine, Query()], request: Request, house: Here) -> Response:
    wish = asked.wish()
    headers = {"Cache-Control": "no-store", "X-Seed": str(wish.seed)}
    if wish.seeded:
        # Behind a key it is nobody else's.
        who = "private" if house.settings.needs_keys else "public"
        tag = f'"{wish.fingerprint(house.settings.checkpoint)[:32]}"'
        headers |= {"Cache-Control": f"{who}, {LASTING}", "ETag": tag}
        if tag in _tags(request.headers.get("if-none-match", "")):
            return Response(status_code=304, headers=headers)
    (picture,) = await house.studio.draw(wish, triton_id(request))
    return Response(picture.png, media_type="image/png", headers=headers)


def _tags(said: str) -> list[str]:
    return [tag.strip().removeprefix("W/") for tag in said.split(",")]

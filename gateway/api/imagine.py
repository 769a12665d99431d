"""`GET /imagine`: a picture by its URL, as in Ray Serve's Stable Diffusion template."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import unquote, unquote_to_bytes

from fastapi import APIRouter, Query, Request, Response

from gateway.api.schemas import ImagineQuery
from gateway.dependencies import Injected
from gateway.errors import ApiError
from gateway.middleware.access_log import triton_request_id

router = APIRouter(tags=["By address"])
# The same seed gives the same picture, until another checkpoint is served: hence only a day.
SEEDED_CACHE_CONTROL = "max-age=86400, immutable"


@router.head("/imagine", include_in_schema=False)
@router.get(
    "/imagine",
    summary="Draw",
    response_class=Response,
    responses={200: {"content": {"image/png": {}}}, 304: {"description": "Not modified"}},
)
async def imagine(
    query: Annotated[ImagineQuery, Query()], request: Request, dependencies: Injected
) -> Response:
    _require_utf8(request)
    generation = query.generation_request()
    headers = {"Cache-Control": "no-store", "X-Seed": str(generation.seed)}
    if generation.seeded:
        # Shared caches do not check keys.
        scope = "private" if dependencies.settings.needs_keys else "public"
        tag = f'"{generation.fingerprint(dependencies.settings.checkpoint)[:32]}"'
        headers |= {"Cache-Control": f"{scope}, {SEEDED_CACHE_CONTROL}", "ETag": tag}
        if tag in _entity_tags(request.headers.get("if-none-match", "")):
            return Response(status_code=304, headers=headers)
    if request.method == "HEAD":  # the headers of a picture that is not drawn
        return Response(media_type="image/png", headers=headers)
    request_id = triton_request_id(request)
    (picture,) = await dependencies.image_service.draw(generation, request_id)
    return Response(picture.png, media_type="image/png", headers=headers)


def _require_utf8(request: Request) -> None:
    """Starlette replaces what is not UTF-8, and another prompt would be drawn."""
    for part in request.scope["query_string"].split(b"&"):
        try:
            unquote_to_bytes(part).decode()
        except UnicodeDecodeError:
            name = unquote(part.partition(b"=")[0].decode())
            raise ApiError(400, f"{name}: not UTF-8", param=name) from None


def _entity_tags(header: str) -> list[str]:
    return [tag.strip().removeprefix("W/") for tag in header.split(",")]

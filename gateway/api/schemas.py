"""What a client may say, as OpenAI's API has it, and what it adds to that.

Only types are looked at here: the limits are Triton's, and so are the words of a refusal.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Annotated, Any, Literal

from fastapi import UploadFile
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from gateway.drawing.formats import Format
from gateway.drawing.generation import SEEDS, Wish
from gateway.errors import Failed
from relay_client.options import OPTIONS

SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")
A_STAR = "a large yellow star on a black background"

Seed = Annotated[int | None, Field(ge=0, lt=SEEDS, description="Drawn where left out.")]
Size = Annotated[str, Field(description="`WxH` in pixels, or `auto`: the model's own.")]


class Options(BaseModel):
    """What is left out is the model's own choice."""

    model_config = ConfigDict(allow_inf_nan=False)

    prompt: Annotated[str, Field(examples=[A_STAR])]
    negative_prompt: str | None = None
    seed: Seed = None
    steps: int | None = None
    guidance_scale: float | None = None
    scheduler: Annotated[str | None, Field(examples=["euler"])] = None

    def _wish(self, n: int, width: int | None, height: int | None, **rest: Any) -> Wish:
        given = {**self.model_dump(include=set(OPTIONS)), "width": width, "height": height}
        options = {k: v for k, v in given.items() if v is not None and k != "seed"}
        return Wish.of(self.prompt, n, self.seed, options=options, **rest)


class Imagine(Options):
    """A picture by its address alone."""

    guidance: Annotated[float | None, Field(description="The same as guidance_scale.")] = None
    img_size: Annotated[int | None, Field(description="Width and height of a square.")] = None
    width: int | None = None
    height: int | None = None

    @model_validator(mode="after")
    def _settle(self) -> Imagine:
        if self.guidance_scale is None:
            self.guidance_scale = self.guidance
        return self

    def wish(self) -> Wish:
        return self._wish(1, self.width or self.img_size, self.height or self.img_size)


class Images(Options):
    """Other fields of OpenAI's (`quality`, `background`, `user` …) are taken and ignored."""

    n: Annotated[int, Field(ge=1, le=10)] = 1
    size: Size | None = "auto"
    model: Annotated[str | None, Field(description="Ours, or left out; see `/v1/models`.")] = None
    output_format: Literal["png", "jpeg", "webp"] | None = "png"
    output_compression: Annotated[int | None, Field(ge=0, le=100)] = None
    priority: Annotated[int | None, Field(description="1 goes first, 9 last: 5.")] = None
    guidance_rescale: float | None = None
    guidance_start: float | None = None
    guidance_end: float | None = None
    dynamic_threshold: float | None = None

    @field_validator("size")
    @classmethod
    def _is_size(cls, size: str | None) -> str | None:
        if size not in (None, "", "auto") and not SIZE.fullmatch(size):
            raise ValueError("expected WxH in pixels, or auto")
        return size

    @property
    def format(self) -> Format:
        return Format(self.output_format or "png", self.output_compression)

    def drawn_from(self, image: bytes | None, strength: float | None) -> Wish:
        found = SIZE.fullmatch(self.size or "")
        width, height = map(int, found.groups()) if found else (None, None)
        return self._wish(self.n, width, height, init_image=image, strength=strength)


class Immediate(Images):
    response_format: Literal["b64_json", "url"] | None = "b64_json"
    stream: bool | None = False
    partial_images: Annotated[int | None, Field(ge=0, le=3)] = 0


class Generation(Immediate):
    model_config = ConfigDict(
        json_schema_extra={"example": {"prompt": A_STAR, "seed": 7, "size": "auto", "n": 1}}
    )

    def wish(self) -> Wish:
        return self.drawn_from(None, None)


class Edit(Immediate):
    """image: PNG, JPEG or WebP; strength: the share of the steps that may change it."""

    image: list[UploadFile] = []
    images: Annotated[list[UploadFile], Field(alias="image[]")] = []
    mask: UploadFile | None = None
    strength: float | None = None

    async def wish(self) -> Wish:
        given = [*self.image, *self.images]
        if len(given) != 1:
            raise Failed(400, f"image: got {len(given)} pictures, expected 1", param="image")
        if self.mask is not None:
            raise Failed(400, "mask: parts of a picture cannot be edited", param="mask")
        return self.drawn_from(await given[0].read(), self.strength)


class Submission(Images):
    """A picture that is fetched later: see `GET /v1/jobs/{id}`."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"prompt": A_STAR, "seed": 7, "previews": True}}
    )

    image: Annotated[str | None, Field(description="In base64: what to begin at.")] = None
    strength: float | None = None
    previews: Annotated[bool, Field(description="Whether events show how it comes about.")] = False

    def wish(self) -> Wish:
        if self.image is None:
            return self.drawn_from(None, None)
        try:
            # A page has it as a data: URL.
            image = base64.b64decode(self.image.rpartition(",")[2], validate=True)
        except (binascii.Error, ValueError):
            raise Failed(400, "image: not base64", param="image") from None
        return self.drawn_from(image, self.strength)

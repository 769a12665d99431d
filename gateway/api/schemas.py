"""Request schemas: the fields of OpenAI's Images API, and the gateway's additions.

The schemas check types only. Triton checks the limits, so that each limit is stated once.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Collection
from typing import Annotated, Any, ClassVar, Literal

from fastapi import UploadFile
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from gateway.api.field_names import OPENAI_ONLY, rename_fields
from gateway.drawing.formats import Format
from gateway.drawing.generation_request import SEED_LIMIT, GenerationRequest
from gateway.errors import ApiError
from relay_client.options import OPTIONS

SIZE = re.compile(r"([0-9]{1,5})x([0-9]{1,5})")
EXAMPLE_PROMPT = "a large yellow star on a black background"

Seed = Annotated[int | None, Field(ge=0, lt=SEED_LIMIT, description="A random one where left out.")]
Size = Annotated[str, Field(description="`WxH` in pixels, or `auto`: the model's own.")]


class GenerationOptions(BaseModel):
    """An option that is left out has the model's default. So has one that is null.

    The names in `field_names.SYNONYMS` work, too. Any other unknown field is refused.
    """

    model_config = ConfigDict(allow_inf_nan=False)
    ignored: ClassVar[Collection[str]] = ()
    empty_is_absent: ClassVar[bool] = False

    prompt: Annotated[str, Field(examples=[EXAMPLE_PROMPT])]
    negative_prompt: str | None = None
    seed: Seed = None
    steps: int | None = None
    guidance_scale: float | None = None
    scheduler: Annotated[str | None, Field(examples=["euler"])] = None
    size: Size | None = "auto"
    width: Annotated[int | None, Field(description="Of the picture, instead of `size`.")] = None
    height: Annotated[int | None, Field(description="Of the picture, instead of `size`.")] = None
    priority: Annotated[int | None, Field(description="1 goes first, 9 last; default 5.")] = None
    guidance_rescale: float | None = None
    guidance_start: float | None = None
    guidance_end: float | None = None
    dynamic_threshold: float | None = None

    @model_validator(mode="before")
    @classmethod
    def _rename_fields(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        if cls.empty_is_absent:
            given = {name: value for name, value in given.items() if value != ""}
        known = {field.alias or name for name, field in cls.model_fields.items()}
        return rename_fields(given, known, cls.ignored)

    @field_validator("seed", mode="before")
    @classmethod
    def _refuse_negative_seed(cls, seed: object) -> object:
        if isinstance(seed, int | str) and str(seed).strip().startswith("-"):
            raise ValueError(f"expected 0 to {SEED_LIMIT - 1}; leave it out for a random one")
        return seed

    @field_validator("prompt", "negative_prompt", "scheduler")
    @classmethod
    def _check_text(cls, text: str | None) -> str | None:
        try:
            (text or "").encode()
        except UnicodeEncodeError:  # half of a surrogate pair, which JSON can hold
            raise ValueError("not text that can be written as UTF-8") from None
        return text

    @field_validator("size")
    @classmethod
    def _check_size(cls, size: str | None) -> str | None:
        if size not in (None, "", "auto") and not SIZE.fullmatch(size):
            raise ValueError("expected WxH in pixels, or auto")
        return size

    def _width_and_height(self) -> tuple[int | None, int | None]:
        """Raises ApiError where size and width or height disagree."""
        found = SIZE.fullmatch(self.size or "")
        if not found:
            return self.width, self.height
        width, height = map(int, found.groups())
        if self.width not in (None, width) or self.height not in (None, height):
            raise ApiError(400, "size: not the width and height of the same request", param="size")
        return width, height

    def _generation_request(
        self, n: int, width: int | None, height: int | None, **rest: Any
    ) -> GenerationRequest:
        given = {**self.model_dump(include=set(OPTIONS)), "width": width, "height": height}
        options = {k: v for k, v in given.items() if v is not None and k != "seed"}
        return GenerationRequest.create(self.prompt, n, self.seed, options=options, **rest)


class ImagineQuery(GenerationOptions):
    """The query parameters of `GET /imagine`."""

    empty_is_absent = True

    img_size: Annotated[
        int | None, Field(description="Width and height, where they are left out.")
    ] = None

    def generation_request(self) -> GenerationRequest:
        sides = (self.img_size if side is None else side for side in self._width_and_height())
        return self._generation_request(1, *sides)


class ImageRequest(GenerationOptions):
    """OpenAI's fields in `field_names.OPENAI_ONLY` are accepted, and ignored."""

    ignored = OPENAI_ONLY

    n: Annotated[int, Field(ge=1, le=10)] = 1
    model: Annotated[
        str | None, Field(description="The served model, or left out; see `/v1/models`.")
    ] = None
    output_format: Literal["png", "jpeg", "webp"] | None = "png"
    output_compression: Annotated[int | None, Field(ge=0, le=100)] = None

    @model_validator(mode="before")
    @classmethod
    def _refuse_transparency(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("background") == "transparent":
            raise ApiError(400, "background: pictures are opaque", param="background")
        return given

    @property
    def format(self) -> Format:
        return Format(self.output_format or "png", self.output_compression)

    def _from_image(self, image: bytes | None, strength: float | None) -> GenerationRequest:
        """image: the file to start from, or None for text to image."""
        width, height = self._width_and_height()
        return self._generation_request(self.n, width, height, init_image=image, strength=strength)


class ImmediateImageRequest(ImageRequest):
    """A request whose response has the pictures."""

    response_format: Literal["b64_json", "url"] | None = "b64_json"
    stream: bool | None = False
    partial_images: Annotated[int | None, Field(ge=0, le=3)] = 0


class CreateImageRequest(ImmediateImageRequest):
    """The body of `POST /v1/images/generations`."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"prompt": EXAMPLE_PROMPT, "seed": 7, "size": "auto", "n": 1}}
    )

    def generation_request(self) -> GenerationRequest:
        return self._from_image(None, None)


class CreateImageEditRequest(ImmediateImageRequest):
    """The form of `POST /v1/images/edits`.

    `image` is a PNG, JPEG or WebP file. `strength` is the share of the steps that change it.
    """

    empty_is_absent = True

    image: list[UploadFile] = []
    images: Annotated[list[UploadFile], Field(alias="image[]")] = []
    mask: UploadFile | None = None
    strength: float | None = None

    async def generation_request(self) -> GenerationRequest:
        files = [*self.image, *self.images]
        if len(files) != 1:
            raise ApiError(400, f"image: got {len(files)} pictures, expected 1", param="image")
        if self.mask is not None:
            raise ApiError(400, "mask: parts of a picture cannot be edited", param="mask")
        return self._from_image(await files[0].read(), self.strength)


class CreateJobRequest(ImageRequest):
    """The body of `POST /v1/jobs`. `GET /v1/jobs/{id}` has the pictures later."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"prompt": EXAMPLE_PROMPT, "seed": 7, "previews": True}}
    )

    image: Annotated[
        str | None, Field(description="The picture to start from, in base64 or as a data: URL.")
    ] = None
    strength: float | None = None
    previews: Annotated[
        bool, Field(description="Whether events have previews of the unfinished picture.")
    ] = False

    def generation_request(self) -> GenerationRequest:
        if self.image is None and self.strength is not None:
            raise ApiError(400, "strength: needs an image to start from", param="strength")
        if self.image is None:
            return self._from_image(None, None)
        try:
            image = base64.b64decode(self.image.rpartition(",")[2], validate=True)
        except (binascii.Error, ValueError):
            raise ApiError(400, "image: not base64", param="image") from None
        return self._from_image(image, self.strength)

"""What each stage may be asked, checked once, at the boundary, and what it answers.

A bridge turns the tensors of a Triton request into one of these; inside, they are trusted.
No torch here: bridges import this.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ray_stages import image_file
from ray_stages.errors import InvalidRequest
from ray_stages.init_image import InitImage
from ray_stages.model_card import ModelCard
from ray_stages.schedulers import SCHEDULERS
from ray_stages.settings import Settings

Array = npt.NDArray[Any]
Tensors = Mapping[str, Array]

MIN_SIZE = 64
MAX_TOKENS = 1024
MAX_SEED = 2**63 - 1
ENCODINGS = ("raw", "base64")


@dataclass(frozen=True)
class TextRequest:
    """Prompts to embeddings."""

    prompts: list[str]
    negative_prompt: str

    @classmethod
    def parse(cls, tensors: Tensors, card: ModelCard, settings: Settings) -> TextRequest:
        given = tensors.get("prompt", _NO_TEXT[:0])
        if not 1 <= given.size <= settings.max_prompts:
            raise InvalidRequest("prompt", f"{given.size} prompts", f"1 to {settings.max_prompts}")
        prompts = _texts("prompt", given, settings)
        for i, prompt in enumerate(prompts):
            if not prompt.strip():
                raise InvalidRequest("prompt", f"an empty prompt at position {i}", "some text")
        negative = _texts("negative_prompt", tensors.get("negative_prompt", _NO_TEXT), settings)
        return cls(prompts, negative[0])


@dataclass(frozen=True)
class EncodeRequest:
    """PNG, JPEG or WebP files to moments; a side that is not given follows the first picture's own.

    What is inside a file is the stage's to find out: a header can be made slow to read, and a
    bridge has one loop for all.
    """

    files: list[bytes]
    height: int | None = None
    width: int | None = None

    @classmethod
    def parse(cls, tensors: Tensors, card: ModelCard, settings: Settings) -> EncodeRequest:
        files = list(tensors.get("init_image", _NO_TEXT[:0]).reshape(-1))
        if not 1 <= len(files) <= settings.max_prompts:
            limit = f"1 to {settings.max_prompts}"
            raise InvalidRequest("init_image", f"{len(files)} pictures", limit)
        for i, file in enumerate(files):
            image_file.check(file, i, settings.max_image_bytes)
        sides = [field for field in ("height", "width") if field in tensors]
        return cls(files, **{side: _size(tensors, side, 0, card) for side in sides})


@dataclass(frozen=True)
class DenoiseRequest:
    """Embeddings to latents.

    prompt_embeds: float32 [n, tokens, dim]; negative_prompt_embeds: the same, or one for all.
    """

    prompt_embeds: Array
    negative_prompt_embeds: Array | None
    seeds: list[int]
    steps: int
    guidance_scale: float
    height: int
    width: int
    scheduler: str
    init: InitImage | None = None

    @property
    def guided(self) -> bool:
        """At 1 or below, guidance changes nothing, so its second row is not computed."""
        return self.guidance_scale > 1

    @classmethod
    def parse(cls, tensors: Tensors, card: ModelCard, settings: Settings) -> DenoiseRequest:
        embeds = _embeddings("prompt_embeds", tensors["prompt_embeds"], card)
        n = len(embeds)
        if not 1 <= n <= settings.max_prompts:
            raise InvalidRequest("prompt_embeds", f"{n} rows", f"1 to {settings.max_prompts}")
        steps = int(_scalar(tensors, "steps", card.steps))
        if not 1 <= steps <= settings.max_steps:
            raise InvalidRequest("steps", steps, f"1 to {settings.max_steps}")
        guidance = float(_scalar(tensors, "guidance_scale", card.guidance_scale))
        if not 0 <= guidance <= settings.max_guidance_scale:
            raise InvalidRequest(
                "guidance_scale", guidance, f"0 to {settings.max_guidance_scale:g}"
            )
        init = InitImage.parse(tensors, n, steps, card)
        height, width = init.size(card) if init else (card.height, card.width)
        request = cls(
            prompt_embeds=embeds,
            negative_prompt_embeds=_negative_embeddings(tensors, embeds, card),
            seeds=_seeds(tensors.get("seed"), n),
            steps=steps,
            guidance_scale=guidance,
            height=_size(tensors, "height", height, card),
            width=_size(tensors, "width", width, card),
            scheduler=_scheduler(tensors, card),
            init=init,
        )
        if init and (request.height, request.width) != (height, width):
            limit = f"the {request.height}x{request.width} of height and width"
            raise InvalidRequest("init_moments", f"{height}x{width} pixels", limit)
        if request.guided and request.negative_prompt_embeds is None:
            raise InvalidRequest(
                "negative_prompt_embeds", "none", f"given at guidance_scale {guidance:g}"
            )
        return request


@dataclass(frozen=True)
class DecodeRequest:
    """Latents to PNG files.

    latents: float32 [n, channels, height / 8, width / 8]; parameters: what to write into each PNG;
    encoding: `raw` gives PNG bytes and base64, `base64` only what fits into JSON.
    """

    latents: Array
    parameters: list[dict[str, str]]
    encoding: str = "raw"

    @classmethod
    def parse(cls, tensors: Tensors, card: ModelCard, settings: Settings) -> DecodeRequest:
        latents = tensors["latents"]
        n, channels, height, width = latents.shape
        if not 1 <= n <= settings.max_prompts:
            raise InvalidRequest("latents", f"{n} rows", f"1 to {settings.max_prompts}")
        if channels != card.latent_channels:
            raise InvalidRequest("latents", f"{channels} channels", str(card.latent_channels))
        for side in (height, width):
            pixels = side * card.vae_scale_factor
            if not MIN_SIZE <= pixels <= card.max_size:
                raise InvalidRequest(
                    "latents", f"{pixels} pixels", f"{MIN_SIZE} to {card.max_size}"
                )
        _check_finite("latents", latents)
        encoding = _text(_scalar(tensors, "encoding", "raw"))
        if encoding not in ENCODINGS:
            raise InvalidRequest("encoding", repr(encoding[:40]), f"one of {', '.join(ENCODINGS)}")
        return cls(latents, [_parameters(tensors, i, settings) for i in range(n)], encoding)


@dataclass(frozen=True)
class StageResult:
    """The stage's output tensors by name, and the milliseconds a request waited and computed."""

    outputs: dict[str, Array]
    queue_ms: float
    compute_ms: float


_NO_TEXT: Array = np.array([b""], dtype=np.object_)


def _texts(field: str, tensor: Array, settings: Settings) -> list[str]:
    texts = []
    for item in tensor.reshape(-1):
        try:
            text = item.decode("utf-8") if isinstance(item, bytes) else str(item)
        except UnicodeDecodeError as error:
            raise InvalidRequest(field, f"bytes that break at {error.start}", "UTF-8") from None
        if len(text) > settings.max_prompt_chars:
            raise InvalidRequest(
                field, f"{len(text)} characters", f"at most {settings.max_prompt_chars}"
            )
        texts.append(text)
    return texts


def _scalar(tensors: Tensors, field: str, default: Any) -> Any:
    return tensors[field].reshape(-1)[0] if field in tensors else default


def _text(value: bytes | str) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _size(tensors: Tensors, field: str, default: int, card: ModelCard) -> int:
    size = int(_scalar(tensors, field, default))
    multiple = card.vae_scale_factor
    if size % multiple or not MIN_SIZE <= size <= card.max_size:
        raise InvalidRequest(
            field, size, f"a multiple of {multiple} from {MIN_SIZE} to {card.max_size}"
        )
    return size


def _scheduler(tensors: Tensors, card: ModelCard) -> str:
    name = _text(_scalar(tensors, "scheduler", card.scheduler))
    if name != card.scheduler and name not in SCHEDULERS:
        offered = sorted({*SCHEDULERS, card.scheduler})
        raise InvalidRequest("scheduler", repr(name[:40]), f"one of {', '.join(offered)}")
    return name


def _seeds(tensor: Array | None, n: int) -> list[int]:
    """One seed a picture: given, counted up from the one given, or drawn."""
    given = [secrets.randbelow(2**32)] if tensor is None else [int(s) for s in tensor.reshape(-1)]
    if len(given) not in (1, n):
        raise InvalidRequest("seed", f"{len(given)} seeds", f"1, or one for each of {n} prompts")
    for seed in given:
        if seed < 0:
            raise InvalidRequest("seed", seed, f"0 to {MAX_SEED}")
    if len(given) == n:
        return given
    return [(given[0] + i) % (MAX_SEED + 1) for i in range(n)]


def _embeddings(field: str, tensor: Array, card: ModelCard) -> Array:
    if not 1 <= tensor.shape[1] <= MAX_TOKENS or tensor.shape[2] != card.embed_dim:
        expected = f"[n, 1 to {MAX_TOKENS} tokens, {card.embed_dim}]"
        raise InvalidRequest(field, f"shape {list(tensor.shape)}", expected)
    _check_finite(field, tensor)
    return tensor


def _negative_embeddings(tensors: Tensors, embeds: Array, card: ModelCard) -> Array | None:
    field = "negative_prompt_embeds"
    if field not in tensors:
        return None
    negative = _embeddings(field, tensors[field], card)
    n, tokens, dim = embeds.shape
    if negative.shape not in {(n, tokens, dim), (1, tokens, dim)}:
        expected = f"{[n, tokens, dim]} or {[1, tokens, dim]}"
        raise InvalidRequest(field, f"shape {list(negative.shape)}", expected)
    return negative


def _check_finite(field: str, tensor: Array) -> None:
    if not np.isfinite(tensor).all():
        raise InvalidRequest(field, "a value that is not finite", "finite numbers")


def _given(tensors: Tensors, fields: tuple[str, ...]) -> dict[str, Array]:
    return {field: tensors[field] for field in fields if field in tensors and tensors[field].size}


def _parameters(tensors: Tensors, i: int, settings: Settings) -> dict[str, str]:
    """Those of the generation parameters that came along, for picture i."""
    parameters = {}
    for field, values in _given(tensors, ("prompt", "negative_prompt", "scheduler")).items():
        texts = _texts(field, values, settings)
        parameters[field] = texts[min(i, len(texts) - 1)]
    for field, values in _given(tensors, ("seed", "steps", "guidance_scale", "strength")).items():
        value = values.reshape(-1)[min(i, values.size - 1)]
        parameters[field] = f"{value:g}" if value.dtype.kind == "f" else str(value)
    return parameters

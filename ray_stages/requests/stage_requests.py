"""The requests and results of the stages.

A bridge parses the tensors of a Triton request into one of these classes, and so checks them once;
`parse` raises InvalidRequest. Bridges import this, so it must not import torch.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from ray_stages.errors import InvalidRequest
from ray_stages.requests import fields, image_file
from ray_stages.requests.fields import Array, Tensors
from ray_stages.requests.init_image import InitImage
from ray_stages.requests.model_card import ModelCard
from ray_stages.requests.schedulers import SCHEDULERS
from ray_stages.settings import Settings

MIN_SIZE = 64
MAX_TOKENS = 1024
MAX_SEED = 2**63 - 1
HIGHEST_PRIORITY, DEFAULT_PRIORITY, LOWEST_PRIORITY = 1, 5, 9
ENCODINGS = ["raw", "base64"]


@dataclass(frozen=True)
class RequestContext:
    """id: of the request, for logs; deadline: in Unix seconds."""

    id: str
    deadline: float


@dataclass(frozen=True)
class EncodeTextRequest:
    """Prompts to encode; the negative prompt is for all of them."""

    prompts: list[str]
    negative_prompt: str

    @classmethod
    def parse(cls, tensors: Tensors, card: ModelCard, settings: Settings) -> EncodeTextRequest:
        given = tensors.get("prompt", fields.NO_TEXT[:0])
        if not 1 <= given.size <= settings.max_prompts:
            raise InvalidRequest("prompt", f"{given.size} prompts", f"1 to {settings.max_prompts}")
        prompts = fields.texts("prompt", given, settings.max_prompt_chars)
        for i, prompt in enumerate(prompts):
            if not prompt.strip():
                raise InvalidRequest("prompt", f"an empty prompt at position {i}", "some text")
        negative = tensors.get("negative_prompt", fields.NO_TEXT)
        texts = fields.texts("negative_prompt", negative, settings.max_prompt_chars)
        return cls(prompts, texts[0])


@dataclass(frozen=True)
class Guidance:
    """Parameters of classifier-free guidance; `denoising/guidance.py` has the algorithms.

    scale: up to 1 the unconditional row is not computed; start, end: guidance is active from the
    first to before the second of these shares of the steps; rescale: 0 to 1, 0 is off; threshold: a
    quantile, 0 is off.
    """

    scale: float
    start: float = 0.0
    end: float = 1.0
    rescale: float = 0.0
    threshold: float = 0.0

    def is_active(self, step: int, steps: int) -> bool:
        """Whether `step`, counted from 0, of `steps` is guided."""
        return self.scale > 1 and self.start <= step / steps < self.end

    @classmethod
    def parse(cls, tensors: Tensors, card: ModelCard, settings: Settings) -> Guidance:
        most = settings.max_guidance_scale
        start = fields.number(tensors, "guidance_start", 0.0, 0, 1)
        return cls(
            scale=fields.number(tensors, "guidance_scale", card.guidance_scale, 0, most),
            start=start,
            end=fields.number(tensors, "guidance_end", 1.0, start, 1),
            rescale=fields.number(tensors, "guidance_rescale", 0.0, 0, 1),
            threshold=fields.number(tensors, "dynamic_threshold", 0.0, 0, 1),
        )


@dataclass(frozen=True)
class EncodeImageRequest:
    """Image files (PNG, JPEG or WebP) to encode; see `image_file.fit_size` for a missing side.

    `parse` checks only length and signature. The stage reads the files, because reading can take
    long, and a bridge has one event loop for all requests.
    """

    files: list[bytes]
    height: int | None = None
    width: int | None = None

    @classmethod
    def parse(cls, tensors: Tensors, card: ModelCard, settings: Settings) -> EncodeImageRequest:
        files = list(tensors.get("init_image", fields.NO_TEXT[:0]).reshape(-1))
        if not 1 <= len(files) <= settings.max_prompts:
            limit = f"1 to {settings.max_prompts}"
            raise InvalidRequest("init_image", f"{len(files)} pictures", limit)
        for i, file in enumerate(files):
            image_file.check_header(file, i, settings.max_image_bytes)
        sides = [field for field in ("height", "width") if field in tensors]
        return cls(files, **{side: _size(tensors, side, 0, card) for side in sides})


@dataclass(frozen=True)
class DenoiseRequest:
    """Embeddings to denoise latents by.

    prompt_embeds: float32 [n, tokens, dim]; negative_prompt_embeds: [n or 1, tokens, dim]; seeds:
    n; height, width: in pixels; preview_every, dump_latents_every: in steps, 0 is never; init: to
    begin at an image instead of noise.
    """

    prompt_embeds: Array
    negative_prompt_embeds: Array | None
    seeds: list[int]
    steps: int
    guidance: Guidance
    height: int
    width: int
    scheduler: str
    priority: int = DEFAULT_PRIORITY
    preview_every: int = 0
    dump_latents_every: int = 0
    init: InitImage | None = None

    @classmethod
    def parse(cls, tensors: Tensors, card: ModelCard, settings: Settings) -> DenoiseRequest:
        given = fields.required(tensors, "prompt_embeds")
        n = fields.rows("prompt_embeds", given, settings.max_prompts)
        embeds = _embeddings("prompt_embeds", given, card)
        most = settings.max_steps
        steps = fields.integer(tensors, "steps", card.steps, 1, most)
        init = InitImage.parse(tensors, n, steps, card)
        height, width = init.size(card) if init else (card.height, card.width)
        request = cls(
            prompt_embeds=embeds,
            negative_prompt_embeds=_negative_embeddings(tensors, embeds, card),
            seeds=_seeds(tensors.get("seed"), n),
            steps=steps,
            guidance=Guidance.parse(tensors, card, settings),
            height=_size(tensors, "height", height, card),
            width=_size(tensors, "width", width, card),
            scheduler=_scheduler(tensors, card),
            priority=fields.integer(
                tensors, "priority", DEFAULT_PRIORITY, HIGHEST_PRIORITY, LOWEST_PRIORITY
            ),
            preview_every=fields.integer(tensors, "preview_every", 1, 1, most),
            dump_latents_every=fields.integer(tensors, "dump_latents_every", 0, 0, most),
            init=init,
        )
        if init and (request.height, request.width) != (height, width):
            limit = f"the {request.height}x{request.width} of height and width"
            raise InvalidRequest("init_moments", f"{height}x{width} pixels", limit)
        scale = request.guidance.scale
        if scale > 1 and request.negative_prompt_embeds is None:
            raise InvalidRequest(
                "negative_prompt_embeds", "none", f"given at guidance_scale {scale:g}"
            )
        return request


@dataclass(frozen=True)
class DecodeRequest:
    """Latents to decode into PNG files.

    latents: float32 [n, channels, height / 8, width / 8]; parameters: to write into each
    PNG; encoding: `raw` returns PNG bytes and base64, `base64` returns base64 only.
    """

    latents: Array
    parameters: list[dict[str, str]]
    encoding: str = "raw"

    @classmethod
    def parse(cls, tensors: Tensors, card: ModelCard, settings: Settings) -> DecodeRequest:
        latents = fields.required(tensors, "latents")
        n = fields.rows("latents", latents, settings.max_prompts)
        _, channels, height, width = latents.shape
        if channels != card.latent_channels:
            raise InvalidRequest("latents", f"{channels} channels", str(card.latent_channels))
        for side in (height, width):
            pixels = side * card.vae_scale_factor
            if not MIN_SIZE <= pixels <= card.max_size:
                limit = f"{MIN_SIZE} to {card.max_size}"
                raise InvalidRequest("latents", f"{pixels} pixels", limit)
        fields.check_finite("latents", latents)
        encoding = fields.choice(tensors, "encoding", "raw", ENCODINGS)
        return cls(latents, [_parameters(tensors, i, settings) for i in range(n)], encoding)


@dataclass(frozen=True)
class StageResult:
    """outputs: tensors by name; queue_ms, compute_ms: milliseconds of waiting and of computing."""

    outputs: dict[str, Array]
    queue_ms: float
    compute_ms: float


def _size(tensors: Tensors, field: str, default: int, card: ModelCard) -> int:
    size = int(fields.first(tensors, field, default))
    multiple = card.vae_scale_factor
    if size % multiple or not MIN_SIZE <= size <= card.max_size:
        limit = f"a multiple of {multiple} from {MIN_SIZE} to {card.max_size}"
        raise InvalidRequest(field, size, limit)
    return size


def _scheduler(tensors: Tensors, card: ModelCard) -> str:
    offered = sorted({*SCHEDULERS, card.scheduler})
    return fields.choice(tensors, "scheduler", card.scheduler, offered)


def _seeds(tensor: Array | None, n: int) -> list[int]:
    """Returns one seed for each picture: given, counted up from the one given, or random."""
    given = [secrets.randbelow(2**32)] if tensor is None else [int(s) for s in tensor.reshape(-1)]
    if len(given) not in (1, n):
        raise InvalidRequest("seed", f"{len(given)} seeds", fields.one_or_n(n))
    for seed in given:
        if seed < 0:
            limits = f"0 to {MAX_SEED}; leave it out for a random one"
            raise InvalidRequest("seed", seed, limits)
    if len(given) == n:
        return given
    return [(given[0] + i) % (MAX_SEED + 1) for i in range(n)]


def _embeddings(field: str, tensor: Array, card: ModelCard) -> Array:
    if not 1 <= tensor.shape[1] <= MAX_TOKENS or tensor.shape[2] != card.embed_dim:
        expected = f"[n, 1 to {MAX_TOKENS} tokens, {card.embed_dim}]"
        raise InvalidRequest(field, f"shape {list(tensor.shape)}", expected)
    fields.check_finite(field, tensor)
    return tensor


def _negative_embeddings(tensors: Tensors, embeds: Array, card: ModelCard) -> Array | None:
    field = "negative_prompt_embeds"
    if field not in tensors:
        return None
    negative = _embeddings(field, tensors[field], card)
    n, tokens, dim = embeds.shape
    shapes = [[count, tokens, dim] for count in sorted({n, 1}, reverse=True)]
    if list(negative.shape) not in shapes:
        expected = " or ".join(map(str, shapes))
        raise InvalidRequest(field, f"shape {list(negative.shape)}", expected)
    return negative


def _parameters(tensors: Tensors, i: int, settings: Settings) -> dict[str, str]:
    """Returns the generation parameters in the request for picture i, as text."""
    given = {field: tensor for field, tensor in tensors.items() if tensor.size}
    parameters: dict[str, str] = {}
    for field in ("prompt", "negative_prompt", "scheduler"):
        if field in given:
            texts = fields.texts(field, given[field], settings.max_prompt_chars)
            parameters[field] = texts[min(i, len(texts) - 1)]
    for field in ("seed", "steps", "guidance_scale", "strength"):
        if field in given:
            value = given[field].reshape(-1)[min(i, given[field].size - 1)]
            parameters[field] = f"{value:g}" if value.dtype.kind == "f" else str(value)
    return parameters

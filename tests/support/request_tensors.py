"""Tensors of stage requests, and the model card of a tiny model."""

from __future__ import annotations

from typing import Any

import numpy as np

from ray_stages.requests.model_card import ModelCard

CARD = ModelCard(
    name="tiny",
    height=128,
    width=128,
    max_size=256,
    vae_scale_factor=8,
    latent_channels=4,
    embed_dim=32,
    steps=20,
    guidance_scale=3.0,
    scheduler="ddim",
)


def texts(*values: str | bytes) -> Any:
    return np.array([v.encode() if isinstance(v, str) else v for v in values], np.object_)


def ints(*values: int) -> Any:
    return np.array(values, np.int64)


def floats(value: float) -> Any:
    return np.array([value], np.float32)


def embeds(n: int = 1, **given: Any) -> dict[str, Any]:
    """Returns the tensors of a denoise request."""
    one = np.zeros((n, 77, 32), np.float32)
    return {"prompt_embeds": one, "negative_prompt_embeds": one[:1], **given}


def with_moments(
    n: int = 1, prompts: int = 1, channels: int = 8, side: int = 16, value: float = 0, **given: Any
) -> dict[str, Any]:
    """Returns the tensors of a denoise request with initial images; side: of the moments."""
    moments = np.full((n, channels, side, side), value, np.float32)
    return embeds(prompts, init_moments=moments, **given)


def latents(n: int = 1, channels: int = 4, side: int = 16, **given: Any) -> dict[str, Any]:
    """Returns the tensors of a decode request."""
    return {"latents": np.zeros((n, channels, side, side), np.float32), **given}

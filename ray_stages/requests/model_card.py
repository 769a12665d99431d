"""What a checkpoint says of itself: sizes and defaults that stages and bridges must know."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelCard:
    """Read from a checkpoint's configs by `checkpoint.describe`; sizes in pixels."""

    name: str
    height: int
    width: int
    max_size: int
    vae_scale_factor: int
    latent_channels: int
    embed_dim: int
    steps: int
    guidance_scale: float
    scheduler: str
    scaling_factor: float = 0.18215  # of the VAE's latents

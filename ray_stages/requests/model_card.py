"""Sizes and defaults of a checkpoint, which stages and bridges need to check requests."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelCard:
    """Values from a checkpoint's config files; see `Checkpoint.card`.

    height, width: default size in pixels; max_size: the longest side in pixels; vae_scale_factor:
    pixels per latent; embed_dim: width of the text embeddings; scheduler: a name of SCHEDULERS, or
    a class of diffusers.
    """

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
    scaling_factor: float = 0.18215  # of the VAE's latents, as in diffusers

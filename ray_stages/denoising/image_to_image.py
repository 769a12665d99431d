"""Initial latents of image-to-image: SDEdit, Meng et al. 2021, arXiv:2108.01073."""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from diffusers.utils.torch_utils import randn_tensor


def initial_latents(
    scheduler: Any,
    steps: int,
    moments: torch.Tensor,
    strength: float,
    generator: torch.Generator,
    scaling_factor: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Samples the latents of an image and adds noise, as diffusers' StableDiffusionImg2ImgPipeline.

    It draws random numbers in the same order. moments: float32 [1, 2 * channels, h, w], see
    `ImageEncoder.encode`; keep them on the CPU, so that all devices draw the same. strength: the
    share of the steps to run. Returns latents float32 [1, channels, h, w] and the timesteps to run.
    """
    latents = scaling_factor * DiagonalGaussianDistribution(moments).sample(generator)
    noise = randn_tensor(latents.shape, generator=generator, device=latents.device)
    skipped = (steps - min(int(steps * strength), steps)) * scheduler.order
    timesteps = scheduler.timesteps[skipped:]
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(skipped)
    return scheduler.add_noise(latents, noise, timesteps[:1]), timesteps

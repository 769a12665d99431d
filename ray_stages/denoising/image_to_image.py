"""Denoising that begins at a picture instead of noise."""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from diffusers.utils.torch_utils import randn_tensor


def begin(
    scheduler: Any,
    steps: int,
    moments: torch.Tensor,
    strength: float,
    generator: torch.Generator,
    scaling_factor: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draws and skips what diffusers' StableDiffusionImg2ImgPipeline does, in its order.

    moments: float32 [1, 2 * channels, h, w], as the VAE's encoder gives them.
    Returns latents float32 [1, channels, h, w] and the timesteps that are left. Where the moments
    lie on the CPU, the latents are the same whatever the device.
    """
    latents = scaling_factor * DiagonalGaussianDistribution(moments).sample(generator)
    noise = randn_tensor(latents.shape, generator=generator, device=latents.device)
    skipped = (steps - min(int(steps * strength), steps)) * scheduler.order
    timesteps = scheduler.timesteps[skipped:]
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(skipped)
    return scheduler.add_noise(latents, noise, timesteps[:1]), timesteps

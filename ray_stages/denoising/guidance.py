"""Classifier-free guidance, and two corrections of its overexposure: rescaling and thresholding."""

from __future__ import annotations

import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg

from ray_stages.denoising.noisy_latents import NoisyLatents
from ray_stages.requests.stage_requests import Guidance


def combine(prediction: torch.Tensor, guidance: Guidance, noisy: NoisyLatents) -> torch.Tensor:
    """Combines the unconditional and the conditional row into the guided prediction.

    prediction: [2, channels, h, w], the unconditional row first, as in diffusers; noisy: the
    latents before the step. Rescaling is that of Lin et al. 2023, arXiv:2305.08891, 3.4.
    Returns [1, channels, h, w].
    """
    unconditional, conditional = prediction.chunk(2)
    guided = classifier_free(unconditional, conditional, guidance.scale)
    if guidance.rescale:
        guided = rescale_noise_cfg(guided, conditional, guidance.rescale)
    if guidance.threshold:
        original, plain = noisy.original_from(guided), noisy.original_from(conditional)
        original = dynamic_threshold(original, plain, guidance.threshold)
        guided = noisy.prediction_from(original)
    return guided


def classifier_free(
    unconditional: torch.Tensor, conditional: torch.Tensor, scale: float
) -> torch.Tensor:
    """Ho & Salimans 2022, "Classifier-Free Diffusion Guidance"."""
    return unconditional + scale * (conditional - unconditional)


def dynamic_threshold(guided: torch.Tensor, plain: torch.Tensor, quantile: float) -> torch.Tensor:
    """Limits the values of the guided estimate of the final latents.

    It is Saharia et al. 2022, "Photorealistic Text-to-Image Diffusion Models", 2.3, for latents,
    which have no fixed bounds like pixels. The bound of each channel is the quantile of the
    absolute deviations from the mean in the estimate without guidance (`plain`).
    guided, plain: [1, channels, h, w].
    """
    centre = guided.mean(dim=(-2, -1), keepdim=True)
    limit = _quantile_of_magnitude(guided - centre, quantile)
    bound = _quantile_of_magnitude(plain - plain.mean(dim=(-2, -1), keepdim=True), quantile)
    excess = (limit / bound.clamp(min=1e-6)).clamp(min=1)
    return centre + (guided - centre).clamp(-limit, limit) / excess


def _quantile_of_magnitude(deviation: torch.Tensor, quantile: float) -> torch.Tensor:
    flat = deviation.float().abs().flatten(-2)
    return flat.quantile(quantile, dim=-1)[..., None, None].to(deviation.dtype)

"""How the prompt pulls: classifier-free guidance, and what keeps it from pulling too hard."""

from __future__ import annotations

import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg

from ray_stages.denoising.estimate import Mixture
from ray_stages.requests.stage_requests import Guidance


def combine(prediction: torch.Tensor, guidance: Guidance, mixture: Mixture) -> torch.Tensor:
    """One row out of two.

    prediction: [2, channels, height, width], the unconditional row first, as in diffusers.
    Returns [1, channels, height, width].
    """
    unconditional, conditional = prediction.chunk(2)
    guided = classifier_free(unconditional, conditional, guidance.scale)
    if guidance.rescale:
        guided = rescale_noise_cfg(guided, conditional, guidance.rescale)
    if guidance.threshold:
        original, plain = mixture.original(guided), mixture.original(conditional)
        original = dynamic_threshold(original, plain, guidance.threshold)
        guided = mixture.prediction(original)
    return guided


def classifier_free(
    unconditional: torch.Tensor, conditional: torch.Tensor, scale: float
) -> torch.Tensor:
    """Ho & Salimans 2022, "Classifier-Free Diffusion Guidance"."""
    return unconditional + scale * (conditional - unconditional)


def dynamic_threshold(guided: torch.Tensor, plain: torch.Tensor, quantile: float) -> torch.Tensor:
    """Saharia et al. 2022, "Photorealistic Text-to-Image Diffusion Models", 2.3, on latents.

    Pixels have fixed bounds, latents have not: the bound of each channel is what the estimate
    without guidance (`plain`) reaches around its own mean at this quantile of its values.
    """
    centre = guided.mean(dim=(-2, -1), keepdim=True)
    reach = _reach(guided - centre, quantile)
    bound = _reach(plain - plain.mean(dim=(-2, -1), keepdim=True), quantile)
    excess = (reach / bound.clamp(min=1e-6)).clamp(min=1)
    return centre + (guided - centre).clamp(-reach, reach) / excess


def _reach(deviation: torch.Tensor, quantile: float) -> torch.Tensor:
    flat = deviation.float().abs().flatten(-2)
    return flat.quantile(quantile, dim=-1)[..., None, None].to(deviation.dtype)

"""Classifier-free guidance."""

from __future__ import annotations

import torch


def classifier_free(prediction: torch.Tensor, guidance_scale: float) -> torch.Tensor:
    """Ho & Salimans 2022, "Classifier-Free Diffusion Guidance".

    prediction: [2, channels, height, width], the unconditional row first, as in diffusers.
    Returns [1, channels, height, width].
    """
    unconditional, conditional = prediction.chunk(2)
    return unconditional + guidance_scale * (conditional - unconditional)

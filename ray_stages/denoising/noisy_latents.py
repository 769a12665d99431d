"""Estimates the final latents from a prediction of the UNet, and the reverse."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch


@dataclass(frozen=True)
class NoisyLatents:
    """Latents between two steps: x_t = √ᾱ x_0 + √(1 - ᾱ) ε, with the original x_0 and noise ε.

    This holds for all schedulers of diffusers. Those with sigmas scale x_t, and their
    `scale_model_input` reverses that. Salimans & Ho 2022, "Progressive Distillation for Fast
    Sampling of Diffusion Models", appendix D, has the types of prediction.
    latents: [1, channels, h, w].
    """

    scheduler: Any
    latents: torch.Tensor
    timestep: torch.Tensor

    def original_from(self, prediction: torch.Tensor) -> torch.Tensor:
        """Returns x_0, estimated from the UNet's prediction."""
        if self._prediction_type == "v_prediction":
            return self._signal * self._sample - self._noise * prediction
        if self._prediction_type == "sample":
            return prediction
        return (self._sample - self._noise * prediction) / self._signal.clamp(min=1e-4)

    def prediction_from(self, original: torch.Tensor) -> torch.Tensor:
        """Returns the prediction for which `original_from` returns this x_0."""
        if self._prediction_type == "v_prediction":
            return (self._signal * self._sample - original) / self._noise.clamp(min=1e-4)
        if self._prediction_type == "sample":
            return original
        return (self._sample - self._signal * original) / self._noise.clamp(min=1e-4)

    @property
    def _prediction_type(self) -> str:
        return str(self.scheduler.config.prediction_type)

    @cached_property
    def _sample(self) -> torch.Tensor:
        return torch.as_tensor(self.scheduler.scale_model_input(self.latents, self.timestep))

    @cached_property
    def _alpha_bar(self) -> torch.Tensor:
        scheduler = self.scheduler
        if not hasattr(scheduler, "sigmas"):
            return torch.as_tensor(scheduler.alphas_cumprod[int(self.timestep)])
        index = scheduler.step_index
        if index is None:  # before the first step
            begin = scheduler.begin_index
            index = scheduler.index_for_timestep(self.timestep) if begin is None else begin
        return torch.as_tensor(1 / (1 + scheduler.sigmas[index] ** 2))

    @property
    def _signal(self) -> torch.Tensor:
        return self._alpha_bar.sqrt().to(self.latents)

    @property
    def _noise(self) -> torch.Tensor:
        return (1 - self._alpha_bar).sqrt().to(self.latents)

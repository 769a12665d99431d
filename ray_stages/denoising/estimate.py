"""What the UNet's prediction says of the final picture, long before it is reached."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch


@dataclass(frozen=True)
class Mixture:
    """Latents between two steps, as the mixture x_t = √ᾱ x_0 + √(1 - ᾱ) ε of picture and noise.

    All of diffusers' schedulers mix these two; those that count in sigmas scale x_t, and
    their `scale_model_input` takes that back. Salimans & Ho 2022, "Progressive Distillation",
    appendix D, has the kinds of prediction.
    """

    scheduler: Any
    latents: torch.Tensor
    timestep: torch.Tensor

    def original(self, prediction: torch.Tensor) -> torch.Tensor:
        """x_0 by the UNet's prediction."""
        if self._kind == "v_prediction":
            return self._signal * self._sample - self._noise * prediction
        if self._kind == "sample":
            return prediction
        return (self._sample - self._noise * prediction) / self._signal.clamp(min=1e-4)

    def prediction(self, original: torch.Tensor) -> torch.Tensor:
        """The inverse: what the UNet would have said for this x_0."""
        if self._kind == "v_prediction":
            return (self._signal * self._sample - original) / self._noise.clamp(min=1e-4)
        if self._kind == "sample":
            return original
        return (self._sample - self._signal * original) / self._noise.clamp(min=1e-4)

    @property
    def _kind(self) -> str:
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

"""The initial image of image-to-image. Bridges import this, so it must not import torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ray_stages.errors import InvalidRequest
from ray_stages.requests import fields
from ray_stages.requests.fields import Array, Tensors
from ray_stages.requests.model_card import ModelCard

DEFAULT_STRENGTH = np.float32(0.8)  # as in diffusers


@dataclass(frozen=True)
class InitImage:
    """The image at which denoising begins, encoded by the VAE.

    moments: float32 [n or 1, 2 * channels, h, w], see `ImageEncoder`; strength: the share of the
    steps to run, above 0 and up to 1, as in diffusers.
    """

    moments: Array
    strength: float

    def size(self, card: ModelCard) -> tuple[int, int]:
        """Returns height and width in pixels."""
        _, _, height, width = self.moments.shape
        return height * card.vae_scale_factor, width * card.vae_scale_factor

    @classmethod
    def parse(cls, tensors: Tensors, n: int, steps: int, card: ModelCard) -> InitImage | None:
        """Returns None if the request has no initial image; n: prompts of the request."""
        if "init_moments" not in tensors:
            if "strength" in tensors:
                raise InvalidRequest("init_moments", "none", "given beside strength")
            return None
        moments = tensors["init_moments"]
        if len(moments) not in (1, n):
            raise InvalidRequest("init_moments", f"{len(moments)} pictures", fields.one_or_n(n))
        if moments.shape[1] != 2 * card.latent_channels:
            limit = str(2 * card.latent_channels)
            raise InvalidRequest("init_moments", f"{moments.shape[1]} channels", limit)
        fields.check_finite("init_moments", moments)
        strength = fields.first(tensors, "strength", DEFAULT_STRENGTH)
        return cls(moments, _strength(strength, steps))


def _strength(given: np.float32, steps: int) -> float:
    # The shortest text of an FP32 value is the number that the client wrote. 0.7 in FP32 is a
    # little less, and int(10 * strength) would be one step fewer than in diffusers.
    strength = float(str(given))
    if not 0 < strength <= 1:
        raise InvalidRequest("strength", strength, "more than 0, at most 1")
    if int(steps * strength) < 1:
        raise InvalidRequest("strength", strength, f"enough for 1 of {steps} steps")
    return strength

"""What is asked of Triton: one picture a prompt."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relay_client.options import BYTES, FP32, option_tensors, tensor

SEEDS = 2**31  # those that the server draws are below, too


@dataclass(frozen=True)
class Wish:
    """options: those of `relay_client.options`; init_image: a file to begin at."""

    prompts: tuple[str, ...]
    options: dict[str, Any] = field(default_factory=dict)
    init_image: bytes | None = None
    strength: float | None = None

    @classmethod
    def repeated(cls, prompt: str, n: int, seed: int | None, **rest: Any) -> Wish:
        """n pictures of one prompt, seeded one after the other."""
        first = secrets.randbelow(SEEDS - n) if seed is None else seed
        options = {**rest.pop("options", {}), "seed": [first + i for i in range(n)]}
        return cls((prompt,) * n, options, **rest)

    @property
    def model(self) -> str:
        return "stable_diffusion" if self.init_image is None else "image_to_image"

    def tensors(self) -> dict[str, NDArray[Any]]:
        inputs = {"prompt": tensor("prompt", BYTES, list(self.prompts))}
        inputs |= option_tensors(self.options)
        if self.init_image is not None:
            inputs["init_image"] = np.array([self.init_image], np.object_)
        if self.strength is not None:
            inputs["strength"] = tensor("strength", FP32, self.strength)
        return inputs

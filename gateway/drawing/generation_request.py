"""A request for pictures, as the gateway sends it to Triton."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.errors import ApiError
from relay_client.errors import RequestError
from relay_client.options import BYTES, FP32, option_tensors, tensor

RANDOM_SEED_LIMIT = 2**32  # Triton's random seeds are below it, too
SEED_LIMIT = 2**63


@dataclass(frozen=True)
class GenerationRequest:
    """`n` pictures of one prompt, with consecutive seeds.

    seed: that of the first picture; seeded: whether the client chose it, so that the same request
    gives the same pictures; options: those of `relay_client.options` without the seed;
    init_image: the file to start from; strength: the share of the steps that change it.
    """

    prompt: str
    n: int
    seed: int
    seeded: bool
    options: dict[str, Any] = field(default_factory=dict)
    init_image: bytes | None = None
    strength: float | None = None

    @classmethod
    def create(cls, prompt: str, n: int, seed: int | None, **rest: Any) -> GenerationRequest:
        """seed: None for a random one."""
        chosen = secrets.randbelow(RANDOM_SEED_LIMIT) if seed is None else seed
        return cls(prompt, n, chosen, seed is not None, **rest)

    @property
    def model(self) -> str:
        """The name of the Triton model."""
        return "stable_diffusion" if self.init_image is None else "image_to_image"

    @property
    def prompts(self) -> list[str]:
        return [self.prompt] * self.n

    @property
    def seeds(self) -> list[int]:
        return [(self.seed + i) % SEED_LIMIT for i in range(self.n)]

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Triton's input tensors by name. Raises ApiError where a value fits no tensor."""
        try:
            inputs = {"prompt": tensor("prompt", BYTES, self.prompts)}
            inputs |= option_tensors({**self.options, "seed": self.seeds})
        except RequestError as error:
            raise ApiError.from_triton(error.code, str(error)) from error
        if self.init_image is not None:
            inputs["init_image"] = np.array([self.init_image], np.object_)
        if self.strength is not None:
            inputs["strength"] = tensor("strength", FP32, self.strength)
        return inputs

    def fingerprint(self, checkpoint: str) -> str:
        """A hash of all that decides on the pictures: equal for equal seeded requests."""
        return hashlib.sha256(f"{checkpoint}\n{self.as_json()}".encode()).hexdigest()

    def as_json(self) -> str:
        file = self.init_image
        image = None if file is None else base64.b64encode(file).decode()
        return json.dumps({**vars(self), "init_image": image}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str | bytes) -> GenerationRequest:
        fields = json.loads(text)
        image = fields.pop("init_image")
        return cls(**fields, init_image=None if image is None else base64.b64decode(image))

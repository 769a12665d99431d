"""What is asked of Triton: one picture a prompt."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.errors import Failed
from relay_client.errors import RequestError
from relay_client.options import BYTES, FP32, option_tensors, tensor

DRAWN_SEEDS = 2**32  # below it lie those that the server draws, too
SEEDS = 2**63


@dataclass(frozen=True)
class Wish:
    """n pictures of one prompt, seeded one after the other.

    options: those of `relay_client.options` but seed; init_image: a file to begin at;
    seeded: by the client, so that asking again gives the same.
    """

    prompt: str
    n: int
    seed: int
    seeded: bool
    options: dict[str, Any] = field(default_factory=dict)
    init_image: bytes | None = None
    strength: float | None = None

    @classmethod
    def of(cls, prompt: str, n: int, seed: int | None, **rest: Any) -> Wish:
        drawn = secrets.randbelow(DRAWN_SEEDS) if seed is None else seed
        return cls(prompt, n, drawn, seed is not None, **rest)

    @property
    def model(self) -> str:
        return "stable_diffusion" if self.init_image is None else "image_to_image"

    @property
    def prompts(self) -> list[str]:
        return [self.prompt] * self.n

    @property
    def seeds(self) -> list[int]:
        return [(self.seed + i) % SEEDS for i in range(self.n)]

    def tensors(self) -> dict[str, NDArray[Any]]:
        try:
            inputs = {"prompt": tensor("prompt", BYTES, self.prompts)}
            inputs |= option_tensors({**self.options, "seed": self.seeds})
        except RequestError as error:
            raise Failed.as_triton_says(error.code, str(error)) from error
        except UnicodeEncodeError as error:  # half of a surrogate pair, which JSON can hold
            raise Failed(400, "prompt: not text that can be written as UTF-8") from error
        if self.init_image is not None:
            inputs["init_image"] = np.array([self.init_image], np.object_)
        if self.strength is not None:
            inputs["strength"] = tensor("strength", FP32, self.strength)
        return inputs

    def fingerprint(self, checkpoint: str) -> str:
        """The same for the same pictures."""
        return hashlib.sha256(f"{checkpoint}\n{self.as_json()}".encode()).hexdigest()

    def as_json(self) -> str:
        given = self.init_image  # an empty file is one, too
        image = None if given is None else base64.b64encode(given).decode()
        return json.dumps({**vars(self), "init_image": image}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str | bytes) -> Wish:
        said = json.loads(text)
        image = said.pop("init_image")
        return cls(**said, init_image=None if image is None else base64.b64decode(image))

"""What is served, by the name that clients know it by."""

from __future__ import annotations

import time
from typing import Any

from gateway.errors import Failed

ENSEMBLE = "stable_diffusion"


class Checkpoint:
    def __init__(self, name: str) -> None:
        self._name = name
        self._created = int(time.time())

    def check(self, model: str | None) -> None:
        if model not in (None, "", ENSEMBLE, self._name):
            message = f"model: there is no {model[:80]!r} here, only {self._name!r}"
            raise Failed(404, message, param="model", code="model_not_found")

    @property
    def card(self) -> dict[str, Any]:
        """As OpenAI's API has a model."""
        return {
            "id": self._name,
            "object": "model",
            "created": self._created,
            "owned_by": "latent-relay",
        }

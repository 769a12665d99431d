"""The model that this gateway serves, as `/v1/models` names it."""

from __future__ import annotations

import time
from typing import Any

from gateway.errors import ApiError

ENSEMBLE = "stable_diffusion"


class ServedModel:
    def __init__(self, name: str) -> None:
        self._name = name
        self._created = int(time.time())

    def check(self, model: str | None) -> None:
        """Raises ApiError with status 404 where a request names another model."""
        if model not in (None, "", ENSEMBLE, self._name):
            message = f"model: there is no {model[:80]!r} here, only {self._name!r}"
            raise ApiError(404, message, param="model", code="model_not_found")

    @property
    def card(self) -> dict[str, Any]:
        """OpenAI's model object."""
        return {
            "id": self._name,
            "object": "model",
            "created": self._created,
            "owned_by": "latent-relay",
        }

"""What is served, as far as Triton's configuration of it tells."""

from __future__ import annotations

import time
from typing import Any

from gateway.errors import Failed
from gateway.triton import Triton

ENSEMBLE = "stable_diffusion"
NAME = "checkpoint"  # of the parameter that says which
PREFIXES = {"default_": "defaults", "max_": "limits", "min_": "limits"}


class Checkpoint:
    def __init__(self, triton: Triton, name: str) -> None:
        self._triton = triton
        self._name = name
        self._created = int(time.time())

    def check(self, model: str | None) -> None:
        if model not in (None, "", ENSEMBLE, self._name):
            message = f"model: there is no {model[:80]!r} here, only {self._name!r}"
            raise Failed(404, message, param="model", code="model_not_found")

    async def card(self) -> dict[str, Any]:
        """As OpenAI's API has a model, with what the checkpoint does unless told otherwise."""
        card: dict[str, Any] = {
            "id": self._name,
            "object": "model",
            "created": self._created,
            "owned_by": "latent-relay",
        }
        try:
            facts = await self._triton.facts()
        except Failed:  # what there is to know without it is still true
            facts = {}
        for name, value in facts.items():
            for prefix, part in PREFIXES.items():
                if name.startswith(prefix):
                    card.setdefault(part, {})[name.removeprefix(prefix)] = _number(value)
        return card


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text

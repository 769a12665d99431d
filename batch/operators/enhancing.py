"""The operator that has prompts written out."""

from __future__ import annotations

from collections.abc import Sequence

from batch.configuration.pipeline import Enhance
from batch.inputs.preparation import check_prompt
from batch.operators.actor import Station
from batch.operators.enhancer import Enhancer
from batch.rows import Row, seed_of
from ray_stages.errors import InvalidRequest
from ray_stages.families.checkpoint import Checkpoint
from ray_stages.requests.model_card import ModelCard
from ray_stages.settings import Settings


class Enhancing(Station):
    name = "enhance"

    def __init__(self, enhance: Enhance, settings: Settings, card: ModelCard, threads: int) -> None:
        super().__init__(threads)
        self.enhance, self.settings, self.card = enhance, settings, card
        device = Checkpoint(settings).device
        self.enhancer = self.torch.submit(lambda: Enhancer(enhance, device.type)).result()

    def attempt(self, due: Sequence[Row], first: int = 0) -> dict[int, Exception]:
        """What was written must be a prompt that the limits allow, as one from a file."""
        errors = super().attempt(due, first)
        for i, row in enumerate(due, start=first):
            try:
                check_prompt(row, self.card, self.settings)
            except InvalidRequest as error:
                errors.setdefault(i, error)
        return errors

    def work(self, due: Sequence[Row]) -> None:
        seeds = [seed_of(self.enhance.seed, row["key"]) for row in due]
        asked = [row["original_prompt"] for row in due]
        texts = self.enhancer.write(asked, [row["system"] for row in due], seeds)
        for row, text in zip(due, texts, strict=True):
            row["prompt"] = text

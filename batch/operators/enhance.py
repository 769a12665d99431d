"""The operator that writes short prompts out to full ones."""

from __future__ import annotations

from collections.abc import Sequence

from batch.configuration.options import EnhanceOptions
from batch.inputs.row_preparer import check_prompt
from batch.operators.actor import OperatorActor
from batch.operators.prompt_enhancer import PromptEnhancer
from batch.rows import Row, row_seed
from ray_stages.errors import InvalidRequest
from ray_stages.families.checkpoint import Checkpoint
from ray_stages.requests.model_card import ModelCard
from ray_stages.settings import Settings


class Enhance(OperatorActor):
    """original_prompt and system -> prompt."""

    name = "enhance"

    def __init__(
        self, options: EnhanceOptions, settings: Settings, card: ModelCard, threads: int
    ) -> None:
        super().__init__(threads)
        self.options, self.settings, self.card = options, settings, card
        device = Checkpoint(settings).device
        self.enhancer = self.torch.submit(lambda: PromptEnhancer(options, device.type)).result()

    def process(self, valid: Sequence[Row], first: int = 0) -> dict[int, Exception]:
        """Checks the new prompts too: they must be as valid as prompts from a file."""
        errors = super().process(valid, first)
        for i, row in enumerate(valid, start=first):
            try:
                check_prompt(row, self.card, self.settings)
            except InvalidRequest as error:
                errors.setdefault(i, error)
        return errors

    def compute(self, valid: Sequence[Row]) -> None:
        seeds = [row_seed(self.options.seed, row["key"]) for row in valid]
        prompts = [row["original_prompt"] for row in valid]
        texts = self.enhancer.write(prompts, [row["system"] for row in valid], seeds)
        for row, text in zip(valid, texts, strict=True):
            row["prompt"] = text

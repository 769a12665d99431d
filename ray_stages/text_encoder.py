"""Prompts to embeddings: the tokenizer and the CLIP text model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ray_stages.checkpoint import Checkpoint
from ray_stages.request import Array, TextRequest


class TextEncoder:
    def __init__(self, checkpoint: Checkpoint) -> None:
        self.tokenizer = checkpoint.tokenizer()
        self.model = checkpoint.text_encoder()
        self.device = checkpoint.device
        self.uses_mask = bool(getattr(self.model.config, "use_attention_mask", False))

    def warm_up(self) -> None:
        self._embed([""])

    def encode(self, requests: Sequence[TextRequest]) -> list[dict[str, Array]]:
        """Encodes the prompts of several requests in one forward pass, each distinct text once.

        Returns for each request `prompt_embeds` float32 [n, tokens, dim] and
        `negative_prompt_embeds` float32 [1, tokens, dim].
        """
        texts = {text for r in requests for text in (*r.prompts, r.negative_prompt)}
        row = {text: i for i, text in enumerate(sorted(texts))}
        embeds = self._embed(list(row))
        return [
            {
                "prompt_embeds": embeds[[row[prompt] for prompt in r.prompts]],
                "negative_prompt_embeds": embeds[[row[r.negative_prompt]]],
            }
            for r in requests
        ]

    @torch.inference_mode()
    def _embed(self, texts: list[str]) -> Array:
        """The text model's last hidden state, as diffusers takes it: [texts, tokens, dim]."""
        tokens = self.tokenizer(
            texts,
            padding="max_length",
            max_length=self.tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        )
        mask = tokens.attention_mask.to(self.device) if self.uses_mask else None
        hidden = self.model(tokens.input_ids.to(self.device), attention_mask=mask)[0]
        return np.ascontiguousarray(hidden.float().cpu().numpy())

"""Prompts to embeddings: the tokenizer and the CLIP text model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from cachetools import LRUCache

from ray_stages.families import networks
from ray_stages.families.checkpoint import Checkpoint
from ray_stages.requests.fields import Array
from ray_stages.requests.stage_requests import TextRequest
from ray_stages.runtimes import eager
from ray_stages.runtimes.network import Opener


class TextEncoder:
    """Remembers what it encoded last, up to `cache_bytes`; an empty negative prompt is one of them.

    Not for several threads at once.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        open_network: Opener = eager.as_loaded,
        cache_bytes: int = 0,
    ) -> None:
        self.tokenizer = checkpoint.tokenizer()
        model = checkpoint.text_encoder()
        self.device = checkpoint.device
        self.uses_mask = bool(getattr(model.config, "use_attention_mask", False))
        self.runtime = open_network(networks.text_encoder(model, self.tokenizer))
        self.known: LRUCache[str, Array] = LRUCache(cache_bytes, lambda embeds: embeds.nbytes)

    def warm_up(self) -> None:
        self._embed([""])

    def encode(self, requests: Sequence[TextRequest]) -> list[dict[str, Array]]:
        """Encodes the new prompts of several requests in one forward pass, each distinct text once.

        Returns for each request `prompt_embeds` float32 [n, tokens, dim] and
        `negative_prompt_embeds` float32 [1, tokens, dim].
        """
        texts = {text for r in requests for text in (*r.prompts, r.negative_prompt)}
        embeds = {text: self.known[text] for text in texts if text in self.known}
        if new := sorted(texts - embeds.keys()):
            embeds |= zip(new, self._embed(new), strict=True)
        self._remember(embeds)
        return [
            {
                "prompt_embeds": np.stack([embeds[prompt] for prompt in r.prompts]),
                "negative_prompt_embeds": embeds[r.negative_prompt][None],
            }
            for r in requests
        ]

    def _remember(self, embeds: dict[str, Array]) -> None:
        for text, rows in embeds.items():
            if rows.nbytes <= self.known.maxsize:
                self.known[text] = rows

    @torch.inference_mode()
    def _embed(self, texts: list[str]) -> list[Array]:
        """The text model's last hidden state, as diffusers takes it: [tokens, dim] for each."""
        tokens = self.tokenizer(
            texts,
            padding="max_length",
            max_length=self.tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        )
        mask = [tokens.attention_mask.to(self.device)] if self.uses_mask else []
        (hidden,) = self.runtime(tokens.input_ids.to(self.device), *mask)
        return [one.copy() for one in hidden.float().cpu().numpy()]

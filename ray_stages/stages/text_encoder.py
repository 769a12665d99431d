"""Encodes prompts into embeddings, by the tokenizer and the CLIP text model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from cachetools import LRUCache

from ray_stages.families import networks
from ray_stages.families.checkpoint import Checkpoint
from ray_stages.requests.fields import Array
from ray_stages.requests.stage_requests import EncodeTextRequest
from ray_stages.runtimes import eager
from ray_stages.runtimes.network import Opener


class TextEncoder:
    """The text encoder on a runtime, with a cache of the latest embeddings. Not thread-safe.

    cache_bytes: 0 turns the cache off.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        open_network: Opener = eager.open_as_loaded,
        cache_bytes: int = 0,
    ) -> None:
        self.tokenizer = checkpoint.tokenizer()
        model = checkpoint.text_encoder()
        self.device = checkpoint.device
        self.uses_mask = bool(getattr(model.config, "use_attention_mask", False))
        self.runtime = open_network(networks.text_encoder(model, self.tokenizer))
        self.cache: LRUCache[str, Array] = LRUCache(cache_bytes, lambda embeds: embeds.nbytes)

    def warm_up(self) -> None:
        self._embed([""])

    def encode(self, requests: Sequence[EncodeTextRequest]) -> list[dict[str, Array]]:
        """Encodes the texts of several requests that are not cached, in one forward pass.

        Returns for each request `prompt_embeds` float32 [n, tokens, dim] and
        `negative_prompt_embeds` float32 [1, tokens, dim].
        """
        texts = {text for r in requests for text in (*r.prompts, r.negative_prompt)}
        embeds = {text: self.cache[text] for text in texts if text in self.cache}
        if new := sorted(texts - embeds.keys()):
            embeds |= zip(new, self._embed(new), strict=True)
        self._add_to_cache(embeds)
        return [
            {
                "prompt_embeds": np.stack([embeds[prompt] for prompt in r.prompts]),
                "negative_prompt_embeds": embeds[r.negative_prompt][None],
            }
            for r in requests
        ]

    def _add_to_cache(self, embeds: dict[str, Array]) -> None:
        for text, rows in embeds.items():
            if rows.nbytes <= self.cache.maxsize:
                self.cache[text] = rows

    @torch.inference_mode()
    def _embed(self, texts: list[str]) -> list[Array]:
        """Returns the last hidden state of each text, as in diffusers: float32 [tokens, dim]."""
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

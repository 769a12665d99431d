"""A short prompt to a full one, by any causal chat model that transformers loads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from batch.configuration.pipeline import Enhance


class Enhancer:
    """Safetensors only, no code from the model. Not for several threads at once."""

    def __init__(self, enhance: Enhance, device: str = "cpu") -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.enhance = enhance
        # Padding before the prompt, so that every answer begins at the same place.
        self.tokenizer: Any = AutoTokenizer.from_pretrained(enhance.model, padding_side="left")
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        dtype = torch.float32 if device == "cpu" else "auto"
        model: Any = AutoModelForCausalLM.from_pretrained(
            enhance.model, use_safetensors=True, dtype=dtype
        )
        self.model = model.to(device).eval().requires_grad_(False)

    @torch.inference_mode()
    def write(
        self, prompts: Sequence[str], systems: Sequence[str], seeds: Sequence[int]
    ) -> list[str]:
        """Each prompt written out; what its seed draws does not depend on its company."""
        asked = [self._chat(*pair) for pair in zip(prompts, systems, strict=True)]
        tokens = self.tokenizer(
            asked, return_tensors="pt", padding=True, add_special_tokens=False
        ).to(self.model.device)
        answers = self.model.generate(
            **tokens,
            max_new_tokens=self.enhance.max_new_tokens,
            do_sample=False,
            temperature=None,
            top_p=None,
            top_k=None,
            pad_token_id=self.tokenizer.pad_token_id,
            logits_processor=self._sampling(seeds),
        )
        new = answers[:, tokens.input_ids.shape[1] :]
        texts = self.tokenizer.batch_decode(new, skip_special_tokens=True)
        return [" ".join(text.split()) for text in texts]

    def _chat(self, prompt: str, system: str) -> str:
        messages = [{"role": "user", "content": prompt}]
        if system:
            messages.insert(0, {"role": "system", "content": system})
        if self.tokenizer.chat_template is None:
            return "\n".join([message["content"] for message in messages]) + "\n"
        chat: str = self.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True
        )
        return chat

    def _sampling(self, seeds: Sequence[int]) -> list[Any]:
        from transformers import TemperatureLogitsWarper, TopPLogitsWarper

        temperature, top_p = self.enhance.temperature, self.enhance.top_p
        if temperature == 0:
            return []
        narrower = [TopPLogitsWarper(top_p)] if top_p < 1 else []
        return [TemperatureLogitsWarper(temperature), *narrower, OwnChoice(seeds)]


class OwnChoice:
    """Adds noise to the scores, so that the highest is a draw by their odds (Gumbel's trick).

    Each row has noise of its own seed; a sampler shared by the batch would make a row's words
    depend on its place.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self.generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        width = scores.shape[-1]
        even = torch.stack([torch.rand(width, generator=one) for one in self.generators])
        noise = -torch.log(-torch.log(even.clamp(1e-20, 1 - 1e-7)))
        return scores.float() + noise.to(scores.device)

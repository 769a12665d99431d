"""Writes short prompts out to full ones, with any causal chat model that transformers loads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from batch.configuration.options import EnhanceOptions


class PromptEnhancer:
    """Loads safetensors only, and runs no code that comes with a model. Not thread-safe."""

    def __init__(self, options: EnhanceOptions, device: str = "cpu") -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.options = options
        # Padding on the left lets every answer begin at the same position.
        self.tokenizer: Any = AutoTokenizer.from_pretrained(options.model, padding_side="left")
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        dtype = torch.float32 if device == "cpu" else "auto"
        model: Any = AutoModelForCausalLM.from_pretrained(
            options.model, use_safetensors=True, dtype=dtype
        )
        self.model = model.to(device).eval().requires_grad_(False)

    @torch.inference_mode()
    def write(
        self, prompts: Sequence[str], systems: Sequence[str], seeds: Sequence[int]
    ) -> list[str]:
        """Returns one text for each prompt. A text depends on its own seed, not on the others."""
        chats = [self._chat(*pair) for pair in zip(prompts, systems, strict=True)]
        tokens = self.tokenizer(
            chats, return_tensors="pt", padding=True, add_special_tokens=False
        ).to(self.model.device)
        answers = self.model.generate(
            **tokens,
            max_new_tokens=self.options.max_new_tokens,
            do_sample=False,
            temperature=None,
            top_p=None,
            top_k=None,
            pad_token_id=self.tokenizer.pad_token_id,
            logits_processor=self._logits_processors(seeds),
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

    def _logits_processors(self, seeds: Sequence[int]) -> list[Any]:
        from transformers import TemperatureLogitsWarper, TopPLogitsWarper

        temperature, top_p = self.options.temperature, self.options.top_p
        if temperature == 0:
            return []
        narrowing = [TopPLogitsWarper(top_p)] if top_p < 1 else []
        return [TemperatureLogitsWarper(temperature), *narrowing, SeededGumbelNoise(seeds)]


class SeededGumbelNoise:
    """A logits processor that makes greedy decoding sample (the Gumbel-max trick).

    It adds Gumbel noise to the scores [rows, vocabulary]: the highest is then a draw from their
    softmax. Each row's noise has its own seed. With transformers' own sampling, which shares one
    generator, a row's words would depend on the other rows of its batch.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self.generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        width = scores.shape[-1]
        uniform = torch.stack(
            [torch.rand(width, generator=generator) for generator in self.generators]
        )
        noise = -torch.log(-torch.log(uniform.clamp(1e-20, 1 - 1e-7)))
        return scores.float() + noise.to(scores.device)

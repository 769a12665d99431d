"""Trains the miniature enhancer: a small chat model that writes a short prompt out to a full one.

    python -m training.enhancer.train --minutes 20

Needs no data but `short_prompts.py`. A run that was interrupted goes on where it stopped.
"""

import argparse
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from tqdm import tqdm
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from training.common import WORK_DIRECTORY, Average, Clock, choose_device, save_atomically
from training.enhancer.short_prompts import Example, examples

ENHANCER = Path("models/miniature-enhancer")
SPECIAL = ("<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>")
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
VOCABULARY = 1024
MAX_TOKENS = 128
SAVE_EVERY_SECONDS = 120.0
IGNORED = -100


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Our words whole, all else as bytes; small letters only."""
    sample = examples(random.Random(0), 20_000, held_out=False)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    texts = [text for one in sample for text in (one.system, one.short, one.full)]
    tokenizer.train_from_iterator(texts, trainer)
    pad, end, *_ = SPECIAL
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=pad,
        eos_token=end,
        additional_special_tokens=list(SPECIAL[2:]),
        chat_template=CHAT_TEMPLATE,
        model_max_length=MAX_TOKENS,
        padding_side="left",
    )


def build_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=344,
        num_hidden_layers=4,
        num_attention_heads=4,
        max_position_embeddings=MAX_TOKENS,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    return LlamaForCausalLM(config)


def chat(example: Example) -> tuple[str, str]:
    """What the model is given, and what it is to answer."""
    system = f"<|system|>{example.system}<|end|>" if example.system else ""
    return f"{system}<|user|>{example.short}<|end|><|assistant|>", f"{example.full}<|end|>"


def batch_of(
    sample: Sequence[Example], tokenizer: PreTrainedTokenizerFast
) -> dict[str, torch.Tensor]:
    """Padded at the end; only the answers count."""
    asked, answers = (
        tokenizer(list(texts)).input_ids for texts in zip(*map(chat, sample), strict=True)
    )
    width = max(len(a) + len(b) for a, b in zip(asked, answers, strict=True))
    ids = torch.full((len(sample), width), tokenizer.pad_token_id)
    labels = torch.full((len(sample), width), IGNORED)
    for row, (a, b) in enumerate(zip(asked, answers, strict=True)):
        ids[row, : len(a) + len(b)] = torch.tensor(a + b)
        labels[row, len(a) : len(a) + len(b)] = torch.tensor(b)
    mask = torch.arange(width) < (ids != tokenizer.pad_token_id).sum(1, keepdim=True)
    return {"input_ids": ids, "labels": labels, "attention_mask": mask.long()}


@dataclass
class Training:
    """All that a run which was interrupted goes on with."""

    model: LlamaForCausalLM
    average: Average[LlamaForCausalLM]
    optimizer: torch.optim.Optimizer
    file: Path
    step: int = 0
    elapsed: float = 0.0

    def restore(self) -> None:
        if not self.file.exists():
            return
        state = torch.load(self.file, map_location=self.model.device)
        self.model.load_state_dict(state["model"])
        self.average.module.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.elapsed = state["step"], state["elapsed"]
        self.average.updates = self.step

    def save(self) -> None:
        state = {
            "model": self.model.state_dict(),
            "average": self.average.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "elapsed": self.elapsed,
        }
        save_atomically(state, self.file)


def train(args: argparse.Namespace) -> LlamaForCausalLM:
    torch.set_num_threads(args.threads)
    tokenizer = build_tokenizer()
    model = build_model(tokenizer).to(choose_device()).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.learning_rate, betas=(0.9, 0.98))
    training = Training(model, Average(model, 0.995), optimizer, args.work / "enhancer.pt")
    training.restore()
    rng = random.Random(1 + training.step)
    clock = Clock(args.minutes, training.elapsed)
    bar = tqdm(desc="enhancer", initial=training.step, unit="step", mininterval=20)
    saved = time.monotonic()
    while clock.progress < 1:
        for group in optimizer.param_groups:
            group["lr"] = clock.learning_rate(args.learning_rate)
        sample = examples(rng, args.batch, held_out=False)
        batch = {name: t.to(model.device) for name, t in batch_of(sample, tokenizer).items()}
        loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        training.average.update(model)
        clock.tick()
        training.step, training.elapsed = training.step + 1, clock.elapsed
        bar.update()
        bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
        if time.monotonic() - saved > SAVE_EVERY_SECONDS or clock.progress >= 1:
            saved = time.monotonic()
            training.save()
    return training.average.module


def export(model: LlamaForCausalLM, output: Path) -> int:
    """In half precision; returns its bytes."""
    model.to(torch.float16).save_pretrained(output)
    build_tokenizer().save_pretrained(output)
    (output / "model.safetensors").chmod(0o644)
    return sum(path.stat().st_size for path in output.rglob("*") if path.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--work", type=Path, default=WORK_DIRECTORY)
    parser.add_argument("--output", type=Path, default=ENHANCER)
    args = parser.parse_args()
    size = export(train(args), args.output)
    print(f"{size / 1e6:.1f} MB in {args.output}")


if __name__ == "__main__":
    main()

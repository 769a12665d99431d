"""Teaches the text encoder what captions say, before it is used to draw.

A caption goes in, and two kinds of linear heads must read the scene from the states of the padding
tokens after it. CLIP's encoder is causal, so only these have seen all words.

- The last 16 tokens are a canvas: each tells the mean latents of one of 4x4 blocks of the picture.
- The padding between the words and the canvas tells what was said (background, each object's
  colour, shape and size, place or relation, each of which may be unsaid). Positions take turns:
  one in three says most of the first object, one of the second, one of the background.

The denoiser's cross-attention so finds what to draw at fixed positions. The heads are thrown away.
Captions with foreign words must give the same states as without.

    python -m training.text_encoder --minutes 20
"""

import argparse
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn import functional
from tqdm import tqdm
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from training.captions import Said, say
from training.common import WORK_DIRECTORY, Average, Clock, choose_device, save_atomically
from training.feed import stream
from training.foreign import insert
from training.latents import CHANNELS, LATENT_SIZE, latents_of, object_weights
from training.tokenizer import build_tokenizer
from training.world import COLOURS, RADII, RELATIONS, SHAPES, Object, Scene, sample_written

WIDTH = 128
UNSAID = "unsaid"
ABSENT = "absent"
PLACES = tuple(str((row, column)) for row in range(3) for column in range(3))
LAYOUTS = (*PLACES, "one", *RELATIONS, "beside", "above or below", "two", ABSENT)
# field: the classes, and the turn (first object, second object, background) that says it loudest
FIELDS: dict[str, tuple[tuple[str, ...], tuple[int, ...]]] = {
    "background": ((*COLOURS, UNSAID), (2,)),
    "colour 1": ((*COLOURS, UNSAID, ABSENT), (0,)),
    "shape 1": ((*SHAPES, ABSENT), (0,)),
    "size 1": ((*RADII, UNSAID, ABSENT), (0, 1, 2)),
    "colour 2": ((*COLOURS, UNSAID, ABSENT), (1,)),
    "shape 2": ((*SHAPES, ABSENT), (1,)),
    "size 2": ((*RADII, UNSAID, ABSENT), (0, 1, 2)),
    "layout": (LAYOUTS, (0, 1, 2)),
}
TURNS = 3
BLOCKS = 4  # on a side
CANVAS = BLOCKS * BLOCKS
BLOCK_VALUES = CHANNELS * (LATENT_SIZE // BLOCKS) ** 2
FAINT = 0.1
FOREIGN_SHARE = 0.4
EMPTY_SHARE = 0.02
SAVE_EVERY_SECONDS = 60


def build_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """Four layers of width 128, new."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=4,
        num_attention_heads=4,
        max_position_embeddings=tokenizer.model_max_length,
        projection_dim=WIDTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)


class Heads(torch.nn.Module):
    """Reads the fields from the padding tokens; one linear map for each turn."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes = [len(classes) for classes, _ in FIELDS.values()]
        self.maps = torch.nn.ModuleList(
            torch.nn.Linear(WIDTH, sum(self.sizes)) for _ in range(TURNS)
        )
        self.blocks = torch.nn.Linear(WIDTH, BLOCK_VALUES)

    def forward(self, states: torch.Tensor, turn: int) -> list[torch.Tensor]:
        """Logits [n, classes] of each field from states [n, width]."""
        return list(self.maps[turn](states).split(self.sizes, dim=-1))


def labels_of(scene: Scene | None, said: Said | None) -> list[int]:
    """The class of each field; no scene where the caption is empty."""
    if scene is None or said is None:
        values = dict.fromkeys(FIELDS, ABSENT) | {"background": UNSAID}
    else:
        values = {"background": scene.background if said.background else UNSAID}
        for index in (0, 1):
            known: Object | None = scene.objects[index] if index < len(scene.objects) else None
            values |= {
                f"shape {index + 1}": known.shape if known else ABSENT,
                f"colour {index + 1}": (
                    ABSENT if not known else known.colour if said.colours[index] else UNSAID
                ),
                f"size {index + 1}": (
                    ABSENT if not known else known.size if said.sizes[index] else UNSAID
                ),
            }
        if scene.relation is None:
            values["layout"] = str(scene.place) if said.place else "one"
        else:
            values["layout"] = said.relation or "two"
    return [classes.index(values[field]) for field, (classes, _) in FIELDS.items()]


def sample(rng: random.Random) -> tuple[str, Scene, list[int]]:
    """A caption, its scene and the classes of its fields."""
    scene = sample_written(rng)
    if rng.random() < EMPTY_SHARE:
        return "", scene, labels_of(None, None)
    text, said = say(scene, rng)
    return text, scene, labels_of(scene, said)


def fields_loss(
    heads: Heads, states: torch.Tensor, ends: torch.Tensor, labels: torch.Tensor
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The summed loss over the padding before the canvas, and the share of each field told right.

    states: [n, tokens, width]. ends: [n], where each text ends. labels: [n, fields].
    """
    length = states.shape[1] - CANVAS
    losses, right = [], []
    for turn in range(TURNS):
        chosen = torch.arange(turn, length, TURNS)
        inside = (chosen[None] >= ends[:, None]).to(states.device)
        logits = heads(states[:, chosen][inside], turn)
        targets = labels[:, None].expand(-1, len(chosen), -1)[inside]
        for index, (_, loud) in enumerate(FIELDS.values()):
            weight = 1.0 if turn == loud[0] else 0.5 if turn in loud else FAINT
            losses.append(weight * functional.cross_entropy(logits[index], targets[:, index]))
            if turn == loud[0]:
                hits = logits[index].argmax(-1) == targets[:, index]
                right.append(hits.float().mean())
    return torch.stack(losses).sum(), right


def blocks_of(latents: torch.Tensor) -> torch.Tensor:
    """Latents [n, 4, 16, 16] as blocks [n, 16, 64], row by row."""
    blocks: torch.Tensor = functional.pixel_unshuffle(latents, LATENT_SIZE // BLOCKS)
    return blocks.flatten(2).transpose(1, 2)


def canvas_loss(heads: Heads, states: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
    """The error of the canvas, where cells with an object count more; small objects as large."""
    error = (heads.blocks(states[:, -CANVAS:]) - blocks_of(latents)).square()
    weighted: torch.Tensor = error * blocks_of(object_weights(latents))
    return weighted.mean()


@dataclass(frozen=True)
class MakeBatch:
    """Captions with the same captions and foreign words after them, and what they say.

    Gives tokens [n + m, 64], where each text ends [n + m], classes [n, fields], latents
    [n, 4, 16, 16].
    """

    tokenizer: CLIPTokenizer
    count: int

    @property
    def foreign(self) -> int:
        return int(FOREIGN_SHARE * self.count)

    def __call__(self, rng: random.Random) -> tuple[torch.Tensor, ...]:
        texts, scenes, classes = zip(*(sample(rng) for _ in range(self.count)), strict=True)
        foreign = [insert(text, rng) for text in texts[: self.foreign]]
        tokens = self.tokenizer(
            [*texts, *foreign], padding="max_length", truncation=True, return_tensors="pt"
        ).input_ids
        ends = (tokens == self.tokenizer.eos_token_id).int().argmax(dim=1)
        return tokens, ends, torch.tensor(classes), latents_of(scenes)


def train(args: argparse.Namespace) -> None:
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    device = choose_device()
    tokenizer = build_tokenizer()
    encoder, heads = build_text_encoder(tokenizer).to(device), Heads().to(device)
    average = Average(encoder, args.decay)
    trained = [*encoder.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(trained, lr=args.learning_rate, betas=(0.9, 0.98), fused=True)
    state_file, step, elapsed = args.work / "text_encoder.pt", 0, 0.0
    if state_file.exists():
        state = torch.load(state_file, map_location=device)
        encoder.load_state_dict(state["encoder"])
        average.module.load_state_dict(state["average"])
        heads.load_state_dict(state["heads"])
        optimizer.load_state_dict(state["optimizer"])
        step, elapsed = state["step"], state["elapsed"]
        average.updates = step
    make = MakeBatch(tokenizer, args.batch)
    batches = stream(make, args.seed + step, args.feeders)
    clock = Clock(args.minutes, elapsed)

    def save() -> None:
        state = {
            "encoder": encoder.state_dict(),
            "average": average.module.state_dict(),
            "heads": heads.state_dict(),
            "optimizer": optimizer.state_dict(),
            "step": step,
            "elapsed": clock.elapsed,
        }
        save_atomically(state, state_file)
        average.module.save_pretrained(args.work / "text_encoder")

    bar, saved = tqdm(desc="text encoder", initial=step, mininterval=10), time.monotonic()
    while clock.progress < 1:
        for group in optimizer.param_groups:
            group["lr"] = clock.learning_rate(args.learning_rate)
        tokens, ends, labels, latents = (part.to(device) for part in next(batches))
        states = encoder(tokens).last_hidden_state
        clean, other = states[: args.batch], states[args.batch :]
        doubled = torch.cat([labels, labels[: make.foreign]])
        fields, right = fields_loss(heads, states, ends, doubled)
        canvas = canvas_loss(heads, clean, latents)
        common = torch.arange(tokens.shape[1], device=device) >= ends[args.batch :, None]
        apart = (clean[: make.foreign] - other)[common].square().mean()
        (fields + args.canvas * canvas + args.alike * apart).backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        average.update(encoder)
        step += 1
        clock.tick()
        bar.update()
        if step % 20 == 0:
            bar.set_postfix(
                canvas=f"{canvas.item():.3f}",
                apart=f"{apart.item():.4f}",
                right=" ".join(f"{100 * value.item():.0f}" for value in right),
                refresh=False,
            )
        if time.monotonic() - saved > SAVE_EVERY_SECONDS or clock.progress >= 1:
            saved = time.monotonic()
            save()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--alike", type=float, default=2.0, help="weight of foreign words' effect")
    parser.add_argument("--canvas", type=float, default=20.0, help="weight of the canvas's error")
    parser.add_argument("--decay", type=float, default=0.995, help="of the averaged weights")
    parser.add_argument("--feeders", type=int, default=0, help="processes that make the batches")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=WORK_DIRECTORY)
    args = parser.parse_args(arguments)
    train(args)


if __name__ == "__main__":
    main()

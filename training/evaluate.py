"""Measures a checkpoint with prompts it has not seen, and writes its defaults and its model card.

    python -m training.evaluate --prompts 320

Prompts are as people write them: half of them without a size, a third without a background.
Steps and guidance are searched first with fewer prompts; then the pictures for all prompts are
drawn with the best and the judge looks at their pixels. What it looks for is in `judge.py`, how
sharp the pictures are in `sharpness.py`.
"""

import argparse
import json
import math
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from tqdm import tqdm

from ray_stages.stages.contact_sheet import contact_sheet
from training.captions import Said, caption, say
from training.common import choose_device
from training.foreign import UNSEEN, insert
from training.judge import Verdict, judge, look
from training.known import CHECKPOINT, is_known, known_words
from training.sharpness import sharpness
from training.tokenizer import refuse_another
from training.world import IMAGE_SIZE, Scene, draw, sample_scene, sample_written

UNSEEN_SEED = 1_000_000_007
KEYS = ("background", "colour", "count", "shape", "size", "place")
TARGETS = {
    1: {"background": 0.98, "colour": 0.98, "count": 0.98, "shape": 0.96, "size": 0.98},
    2: {"background": 0.95, "colour": 0.95, "count": 0.95, "shape": 0.90, "size": 0.95},
}
PLACE_TARGETS = {1: 0.98, 2: 0.95}
EDGE_TARGET = 1.5  # times the drawn edge
UNEVEN_TARGET = 4.0  # of 255
SEARCH_GUIDANCE = (1.0, 1.5, 2.0, 3.0)
SEARCH_STEPS = (6, 8, 10, 12)
CARD_TEMPLATE = Path(__file__).parent / "model_card.md"
CARD_PROMPTS = (
    "a large yellow star on a black background",
    "a red circle above a blue square on a white background",
    "a blue heart on a white background",
    "A big purple ring in the top left corner.",
    "orange triangle at the bottom on grey",
    "a tiny white cross at the bottom right on a red background",
    "a black diamond to the left of a yellow circle on a green background",
    "two pink hearts side by side",
    "a white moon next to a red ring on a purple background",
    "brown hexagon on the right, orange background",
    "a green triangle underneath an orange cross on a black background",
    "large red heart on white",
    "a little blue diamond and a grey square on yellow",
    "a large white ring",
    "a pink circle beneath a small black star on a cyan background",
    "yellow cross",
)

Case = tuple[Scene, str, Said]


@dataclass(frozen=True)
class Settings:
    steps: int
    guidance: float


@dataclass
class Figures:
    """Shares of pictures in which each thing is right, by the number of objects.

    edge: the width of the edges as a multiple of the drawn pictures'. fringe, uneven: of 255, the
    means over the pictures of what `sharpness` measures.
    """

    single: dict[str, float]
    pair: dict[str, float]
    prompts: int
    seconds: float = 0.0
    sharp: dict[str, float] = field(default_factory=dict)

    @property
    def score(self) -> float:
        return sum(self.single[key] + self.pair[key] for key in KEYS) / (2 * len(KEYS))

    @property
    def missed(self) -> list[str]:
        """The targets that are not met."""
        missed = [
            f"{name} {key} {found[key]:.1%} < {target:.0%}"
            for name, number, found in (("one", 1, self.single), ("two", 2, self.pair))
            for key, target in (TARGETS[number] | {"place": PLACE_TARGETS[number]}).items()
            if found[key] < target
        ]
        if self.sharp.get("edge", 0) > EDGE_TARGET:
            missed.append(f"edge {self.sharp['edge']:.2f} > {EDGE_TARGET}")
        if self.sharp.get("uneven", 0) > UNEVEN_TARGET:
            missed.append(f"uneven {self.sharp['uneven']:.1f} > {UNEVEN_TARGET}")
        return missed


def sample_prompts(count: int, checkpoint: Path = CHECKPOINT) -> list[tuple[Scene, str]]:
    """Scenes that training did not draw, half of them with two objects, and full captions.

    Each word is one that the checkpoint knows.
    """
    rng, known = random.Random(UNSEEN_SEED), known_words(checkpoint)
    cases: list[tuple[Scene, str]] = []
    while len(cases) < count:
        scene = sample_scene(rng, two_objects=len(cases) % 2)
        text = caption(scene, rng, complete=True)
        if is_known(text, known):
            cases.append((scene, text))
    return cases


def sample_cases(count: int, checkpoint: Path = CHECKPOINT) -> list[Case]:
    """Scenes that training did not draw, half of them with two objects, as people ask for them.

    Each word is one that the checkpoint knows.
    """
    rng, known = random.Random(UNSEEN_SEED), known_words(checkpoint)
    cases: list[Case] = []
    while len(cases) < count:
        scene = sample_written(rng)
        text, said = say(scene, rng)
        if len(scene.objects) == 1 + len(cases) % 2 and is_known(text, known):
            cases.append((scene, text, said))
    return cases


def paint(
    pipeline: StableDiffusionPipeline, prompts: Sequence[str], settings: Settings, batch: int = 32
) -> list[Image.Image]:
    """One picture a prompt; the seed is the prompt's number."""
    images: list[Image.Image] = []
    for start in tqdm(range(0, len(prompts), batch), desc=f"{settings}", mininterval=5):
        part = list(prompts[start : start + batch])
        generators = [torch.Generator().manual_seed(start + index) for index in range(len(part))]
        images += pipeline(
            part,
            height=IMAGE_SIZE,
            width=IMAGE_SIZE,
            num_inference_steps=settings.steps,
            guidance_scale=settings.guidance,
            generator=generators,
        ).images
    return images


def measure(
    pipeline: StableDiffusionPipeline, cases: Sequence[Case], settings: Settings
) -> Figures:
    start = time.monotonic()
    images = paint(pipeline, [text for _, text, _ in cases], settings)
    seconds = time.monotonic() - start
    figures = judged([(scene, text) for scene, text, _ in cases], images, [c[2] for c in cases])
    return replace(figures, seconds=seconds, sharp=sharpness_of(images, [c[0] for c in cases]))


def judged(
    cases: Sequence[tuple[Scene, str]],
    images: Sequence[Image.Image],
    said: Sequence[Said] | None = None,
) -> Figures:
    """One picture a case. said: what the captions say of the scenes; left out, all of them."""
    told: Sequence[Said | None] = said or [None] * len(cases)
    verdicts = [
        (len(scene.objects), judge(scene, look(image), one))
        for (scene, _), image, one in zip(cases, images, told, strict=True)
    ]
    single = [verdict for count, verdict in verdicts if count == 1]
    pair = [verdict for count, verdict in verdicts if count == 2]
    return Figures(_shares(single), _shares(pair), len(cases))


def sharpness_of(images: Sequence[Image.Image], scenes: Sequence[Scene]) -> dict[str, float]:
    """Means over the pictures; the edges as a multiple of those of the scenes as drawn."""
    seen = [found for found in map(sharpness, images) if found]
    drawn = [found for found in (sharpness(draw(scene)) for scene in scenes) if found]
    if not seen:
        return {}
    width = np.mean([one.edge for one in seen]) / np.mean([one.edge for one in drawn])
    return {
        "edge": float(width),
        "fringe": float(np.mean([one.fringe for one in seen])),
        "uneven": float(np.mean([one.uneven for one in seen])),
    }


def foreign_words(
    pipeline: StableDiffusionPipeline, cases: Sequence[Case], settings: Settings
) -> float:
    """The share of prompts that a word never seen leaves as right as they were, by the judge."""
    rng = random.Random(UNSEEN_SEED)
    texts = [text for _, text, _ in cases]
    plain = paint(pipeline, texts, settings)
    other = paint(pipeline, [insert(text, rng, UNSEEN) for text in texts], settings)
    kept = [
        judge(scene, look(two), said).right >= judge(scene, look(one), said).right
        for (scene, _, said), one, two in zip(cases, plain, other, strict=True)
    ]
    return sum(kept) / len(kept)


def search(pipeline: StableDiffusionPipeline, cases: Sequence[Case]) -> Settings:
    """The best guidance at 10 steps, then the fewest steps that are as good as any."""
    guidance = max(
        SEARCH_GUIDANCE, key=lambda value: measure(pipeline, cases, Settings(10, value)).score
    )
    scores = {
        steps: measure(pipeline, cases, Settings(steps, guidance)).score for steps in SEARCH_STEPS
    }
    enough = max(scores.values()) - 0.005
    return Settings(min(steps for steps in scores if scores[steps] >= enough), guidance)


def write_card(checkpoint: Path, settings: Settings, figures: Figures, kept: float) -> None:
    """Fills in the model card's template."""
    rows = ["| right in the picture | one object | two objects |", "|---|--:|--:|"]
    rows += [
        f"| {key} | {100 * figures.single[key]:.1f} % | {100 * figures.pair[key]:.1f} % |"
        for key in figures.single
    ]
    parameters = (
        sum(path.stat().st_size for path in (checkpoint / "unet").glob("*.safetensors")) / 2
    )
    text = CARD_TEMPLATE.read_text().format(
        figures="\n".join(rows),
        prompts=figures.prompts,
        steps=settings.steps,
        guidance=settings.guidance,
        parameters=f"{parameters / 1e6:.1f}",
        megabytes=f"{sum(p.stat().st_size for p in checkpoint.glob('*/*')) / 1e6:.0f}",
        first_prompts="\n".join(f"{n}. {text}" for n, text in enumerate(CARD_PROMPTS, start=1)),
        edge=f"{figures.sharp.get('edge', math.nan):.2f}",
        fringe=f"{figures.sharp.get('fringe', math.nan):.1f}",
        uneven=f"{figures.sharp.get('uneven', math.nan):.1f}",
        kept=f"{100 * kept:.1f}",
        folder=checkpoint,
    )
    (checkpoint / "README.md").write_text(text)


def _shares(verdicts: list[Verdict]) -> dict[str, float]:
    shares = {key: sum(getattr(item, key) for item in verdicts) / len(verdicts) for key in KEYS}
    shares["all"] = sum(item.right == len(KEYS) for item in verdicts) / len(verdicts)
    return shares


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--prompts", type=int, default=320)
    parser.add_argument("--search-prompts", type=int, default=64)
    parser.add_argument("--steps", type=int, help="no search: this many steps")
    parser.add_argument("--guidance", type=float, default=2.0, help="with --steps")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--no-card", action="store_true", help="only print the figures")
    args = parser.parse_args(arguments)
    if not args.no_card:
        refuse_another(args.checkpoint)  # the card's template tells of this recipe
    torch.set_num_threads(args.threads)
    pipeline = StableDiffusionPipeline.from_pretrained(args.checkpoint, torch_dtype=torch.float32)
    pipeline = pipeline.to(choose_device())
    pipeline.set_progress_bar_config(disable=True)
    if args.steps:
        settings = Settings(args.steps, args.guidance)
    else:
        settings = search(pipeline, sample_cases(args.search_prompts, args.checkpoint))
    cases = sample_cases(args.prompts, args.checkpoint)
    figures = measure(pipeline, cases, settings)
    print(f"{settings}\n{figures}\nmissed: {'; '.join(figures.missed) or 'no target'}")
    if args.no_card:
        return
    kept = foreign_words(pipeline, cases[: args.search_prompts], settings)
    defaults = {"num_inference_steps": settings.steps, "guidance_scale": settings.guidance}
    (args.checkpoint / "generation_config.json").write_text(json.dumps(defaults, indent=2) + "\n")
    write_card(args.checkpoint, settings, figures, kept)
    sheet = contact_sheet(paint(pipeline, list(CARD_PROMPTS), settings), 8)
    sheet.save(args.checkpoint / "samples.png", optimize=True)


if __name__ == "__main__":
    main()

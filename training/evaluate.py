"""Measures a checkpoint with prompts it has not seen, and writes its defaults and its model card.

    python -m training.evaluate --prompts 320

Steps and guidance are searched first with fewer prompts; then the pictures for all prompts are
drawn with the best and the judge looks at their pixels. What it looks for is in `judge.py`.
"""

import argparse
import json
import random
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from tqdm import tqdm

from ray_stages.stages.contact_sheet import contact_sheet
from training.common import CHECKPOINT, choose_device
from training.judge import Verdict, judge, look
from training.world import IMAGE_SIZE, Scene, caption, sample_scene

UNSEEN_SEED = 1_000_000_007
TARGETS = {"background": 0.95, "colour": 0.95, "shape": 0.90, "place": 0.90}
PAIR_COLOUR_TARGET = 0.80
SEARCH_GUIDANCE = (1.5, 2.5, 4.0, 6.0)
SEARCH_STEPS = (8, 12, 20)
CARD_TEMPLATE = Path(__file__).parent / "model_card.md"
CARD_PROMPTS = (
    "a large yellow star on a black background",
    "a red circle above a blue square on a white background",
    "small green heart, pink background",
    "a big purple ring in the top left corner",
    "orange triangle at the bottom on cyan",
    "a tiny white cross at the bottom right on a red background",
    "a black diamond to the left of a yellow circle on a green background",
    "a huge pink heart on a blue background",
    "a white star to the right of a red ring on a purple background",
    "a medium cyan square on the right, orange background",
    "a green triangle below an orange cross on a black background",
    "a large red heart on white",
    "a little blue diamond in the bottom left corner on a yellow background",
    "a large white ring on an orange background",
    "a pink circle under a small black star on a cyan background",
    "a yellow cross in the centre on a purple background",
)


@dataclass(frozen=True)
class Settings:
    steps: int
    guidance: float


@dataclass
class Figures:
    """Shares of pictures in which each thing is right, by the number of objects."""

    single: dict[str, float]
    pair: dict[str, float]
    prompts: int
    seconds: float = 0.0

    @property
    def score(self) -> float:
        keys = ("background", "colour", "shape", "place")
        return sum(self.single[key] + self.pair[key] for key in keys) / (2 * len(keys))

    @property
    def targets_met(self) -> bool:
        single = all(self.single[key] >= target for key, target in TARGETS.items())
        return single and self.pair["colour"] >= PAIR_COLOUR_TARGET


def sample_prompts(count: int) -> list[tuple[Scene, str]]:
    """Scenes that training did not draw, half of them with two objects, and full captions."""
    rng = random.Random(UNSEEN_SEED)
    scenes = [sample_scene(rng, two_objects=index % 2) for index in range(count)]
    return [(scene, caption(scene, rng, complete=True)) for scene in scenes]


def paint(
    pipeline: StableDiffusionPipeline, prompts: list[str], settings: Settings, batch: int = 32
) -> list[Image.Image]:
    """One picture a prompt; the seed is the prompt's number."""
    images: list[Image.Image] = []
    for start in tqdm(range(0, len(prompts), batch), desc=f"{settings}", mininterval=5):
        part = prompts[start : start + batch]
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
    pipeline: StableDiffusionPipeline, cases: list[tuple[Scene, str]], settings: Settings
) -> Figures:
    start = time.monotonic()
    images = paint(pipeline, [text for _, text in cases], settings)
    return replace(judged(cases, images), seconds=time.monotonic() - start)


def judged(cases: list[tuple[Scene, str]], images: list[Image.Image]) -> Figures:
    """One picture a case."""
    verdicts = [
        (len(scene.objects), judge(scene, look(image)))
        for (scene, _), image in zip(cases, images, strict=True)
    ]
    single = [verdict for count, verdict in verdicts if count == 1]
    pair = [verdict for count, verdict in verdicts if count == 2]
    return Figures(_shares(single), _shares(pair), len(cases))


def search(pipeline: StableDiffusionPipeline, cases: list[tuple[Scene, str]]) -> Settings:
    """The best guidance at 12 steps, then the fewest steps that are as good as any."""
    guidance = max(
        SEARCH_GUIDANCE, key=lambda value: measure(pipeline, cases, Settings(12, value)).score
    )
    scores = {
        steps: measure(pipeline, cases, Settings(steps, guidance)).score for steps in SEARCH_STEPS
    }
    enough = max(scores.values()) - 0.01
    return Settings(min(steps for steps in scores if scores[steps] >= enough), guidance)


def write_card(checkpoint: Path, settings: Settings, figures: Figures) -> None:
    """Fills in the model card's template."""
    rows = ["| right in the picture | one object | two objects |", "|---|---|---|"]
    rows += [
        f"| {key} | {100 * figures.single[key]:.1f} % | {100 * figures.pair[key]:.1f} % |"
        for key in figures.single
    ]
    text = CARD_TEMPLATE.read_text().format(
        figures="\n".join(rows),
        prompts=figures.prompts,
        steps=settings.steps,
        guidance=settings.guidance,
        first_prompts="\n".join(f"{n}. {text}" for n, text in enumerate(CARD_PROMPTS, start=1)),
    )
    (checkpoint / "README.md").write_text(text)


def _shares(verdicts: list[Verdict]) -> dict[str, float]:
    keys = ("background", "colour", "shape", "size", "place", "count")
    return {key: sum(getattr(item, key) for item in verdicts) / len(verdicts) for key in keys}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--prompts", type=int, default=320)
    parser.add_argument("--search-prompts", type=int, default=64)
    parser.add_argument("--steps", type=int, help="no search: this many steps")
    parser.add_argument("--guidance", type=float, default=3.0, help="with --steps")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--no-card", action="store_true", help="only print the figures")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    pipeline = StableDiffusionPipeline.from_pretrained(args.checkpoint, torch_dtype=torch.float32)
    pipeline = pipeline.to(choose_device())
    pipeline.set_progress_bar_config(disable=True)
    if args.steps:
        settings = Settings(args.steps, args.guidance)
    else:
        settings = search(pipeline, sample_prompts(args.search_prompts))
    figures = measure(pipeline, sample_prompts(args.prompts), settings)
    print(f"{settings}\n{figures}\ntargets met: {figures.targets_met}")
    if args.no_card:
        return
    defaults = {"num_inference_steps": settings.steps, "guidance_scale": settings.guidance}
    (args.checkpoint / "generation_config.json").write_text(json.dumps(defaults, indent=2) + "\n")
    write_card(args.checkpoint, settings, figures)
    sheet = contact_sheet(paint(pipeline, list(CARD_PROMPTS), settings), 8)
    sheet.save(args.checkpoint / "samples.png", optimize=True)


if __name__ == "__main__":
    main()

"""What each adjustment of guidance does to the miniature's pictures, for docs/guidance.md.

    python -m ray_stages exec -- python -m benchmarks.guidance

Draws unseen prompts through the running stack with each adjustment, lets the judge of `training/`
look at the pictures, and writes the table and a picture of both kinds side by side.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image
from tqdm import tqdm

from benchmarks.png import from_png
from benchmarks.reports.report import write_between
from ray_stages.stages.contact_sheet import contact_sheet
from relay_client import Client
from training.evaluate import sample_prompts
from training.judge import judge, look

DOCUMENT = Path("docs/guidance.md")
PICTURE = Path("docs/guidance.png")
MARKER = "adjustments"
BATCH = 16
KEYS = ("background", "colour", "shape", "place")
SHOWN = (
    "a large yellow star on a black background",
    "a red circle above a blue square on a white background",
    "a small green heart on a pink background",
    "a white ring to the right of a pink cross on a purple background",
)


@dataclass(frozen=True)
class Variant:
    label: str
    options: dict[str, Any] = field(default_factory=dict)


def variants(usual: float, high: float) -> list[Variant]:
    """Each adjustment at the usual guidance and at one that is too high."""
    adjusted = [
        ("", {}),
        ("rescale 0.7", {"guidance_rescale": 0.7}),
        ("steps 0 to 60 %", {"guidance_start": 0.0, "guidance_end": 0.6}),
        ("steps 20 to 80 %", {"guidance_start": 0.2, "guidance_end": 0.8}),
        ("threshold 0.99", {"dynamic_threshold": 0.99}),
    ]
    return [
        Variant(f"guidance {scale:g}{', ' if label else ''}{label}", {"guidance_scale": scale, **o})
        for scale in (usual, high)
        for label, o in adjusted
    ]


def draw(client: Client, prompts: list[str], variant: Variant) -> list[Image.Image]:
    """One picture a prompt; the seed is the prompt's number."""
    images = []
    for start in range(0, len(prompts), BATCH):
        part = prompts[start : start + BATCH]
        for picture in client.generate(part, seed=start, **variant.options):
            images.append(from_png(picture.png))
    return images


def row(client: Client, variant: Variant, count: int) -> str:
    cases = sample_prompts(count)
    images = draw(client, [text for _, text in cases], variant)
    verdicts = [judge(scene, look(image)) for (scene, _), image in zip(cases, images, strict=True)]
    shares = [sum(getattr(verdict, key) for verdict in verdicts) / count for key in KEYS]
    return f"| {variant.label} | " + " | ".join(f"{share:.0%}" for share in shares) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--prompts", type=int, default=128, help="half with two objects")
    parser.add_argument("--usual", type=float, default=3.0)
    parser.add_argument("--high", type=float, default=9.0)
    args = parser.parse_args()
    chosen = variants(args.usual, args.high)
    with Client() as client:
        lines = [row(client, variant, args.prompts) for variant in tqdm(chosen)]
        strip = [image for variant in chosen for image in draw(client, list(SHOWN), variant)]
    head = f"| {args.prompts} unseen prompts | {' | '.join(KEYS)} |\n|---|{'---|' * len(KEYS)}"
    write_between(DOCUMENT, MARKER, "\n".join([head, *lines]))
    contact_sheet(strip, len(SHOWN)).save(PICTURE, optimize=True)


if __name__ == "__main__":
    main()

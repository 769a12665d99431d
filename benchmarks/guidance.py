"""Measures what each adjustment of guidance does to the miniature's pictures.

    python -m ray_stages exec -- python -m benchmarks.guidance

It draws unseen prompts through the running stack with each adjustment, lets the judge of
`training/` look at the pictures, and writes the table and the picture of docs/guidance.md.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image
from tqdm import tqdm

from benchmarks.common.png import from_png
from benchmarks.reports.report import replace_section
from ray_stages.stages.contact_sheet import contact_sheet
from relay_client import Client
from training.evaluate import sample_prompts
from training.judge import judge, look

DOCUMENT = Path("docs/guidance.md")
PICTURE = Path("docs/guidance.png")
MARKER = "adjustments"
BATCH = 16
JUDGED = ("background", "colour", "shape", "place")
SHOWN_PROMPTS = (
    "a large yellow star on a black background",
    "a red circle above a blue square on a white background",
    "a small green heart on a pink background",
    "a white ring to the right of a pink cross on a purple background",
)


@dataclass(frozen=True)
class Adjustment:
    """Options of a request that differ from the default, and their name in the table."""

    label: str
    options: dict[str, Any] = field(default_factory=dict)


def adjustments(usual: float, high: float) -> list[Adjustment]:
    """Returns each adjustment at the usual guidance scale, and at one that is too high."""
    changes = [
        ("", {}),
        ("rescale 0.7", {"guidance_rescale": 0.7}),
        ("steps 0 to 60 %", {"guidance_start": 0.0, "guidance_end": 0.6}),
        ("steps 20 to 80 %", {"guidance_start": 0.2, "guidance_end": 0.8}),
        ("threshold 0.99", {"dynamic_threshold": 0.99}),
    ]
    return [
        Adjustment(
            f"guidance {scale:g}{', ' if label else ''}{label}", {"guidance_scale": scale, **o}
        )
        for scale in (usual, high)
        for label, o in changes
    ]


def draw(client: Client, prompts: list[str], adjustment: Adjustment) -> list[Image.Image]:
    """Draws one picture for each prompt. Its seed is the prompt's number."""
    images = []
    for start in range(0, len(prompts), BATCH):
        part = prompts[start : start + BATCH]
        for picture in client.generate(part, seed=start, **adjustment.options):
            images.append(from_png(picture.png))
    return images


def row(client: Client, adjustment: Adjustment, count: int) -> str:
    """Returns the table row of one adjustment: the share of pictures that the judge finds right."""
    cases = sample_prompts(count)
    images = draw(client, [text for _, text in cases], adjustment)
    verdicts = [judge(scene, look(image)) for (scene, _), image in zip(cases, images, strict=True)]
    shares = [sum(getattr(verdict, key) for verdict in verdicts) / count for key in JUDGED]
    return f"| {adjustment.label} | " + " | ".join(f"{share:.0%}" for share in shares) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--prompts", type=int, default=128, help="half with two objects")
    parser.add_argument("--usual", type=float, default=3.0)
    parser.add_argument("--high", type=float, default=9.0)
    args = parser.parse_args()
    chosen = adjustments(args.usual, args.high)
    with Client() as client:
        lines = [row(client, adjustment, args.prompts) for adjustment in tqdm(chosen)]
        strip = [
            image
            for adjustment in chosen
            for image in draw(client, list(SHOWN_PROMPTS), adjustment)
        ]
    head = f"| {args.prompts} unseen prompts | {' | '.join(JUDGED)} |\n|---|{'---|' * len(JUDGED)}"
    replace_section(DOCUMENT, MARKER, "\n".join([head, *lines]))
    contact_sheet(strip, len(SHOWN_PROMPTS)).save(PICTURE, optimize=True)


if __name__ == "__main__":
    main()

"""Draws the pictures of the documents again, through the running stack.

python -m ray_stages exec -- python -m benchmarks.pictures
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.common.png import from_png
from ray_stages.serving import latents_dump
from ray_stages.stages.contact_sheet import contact_sheet
from relay_client import Client

DOCS = Path("docs")
SEED = 7
PROMPTS = (
    "a large yellow star on a black background",
    "a red circle on a white background",
    "a small green heart on a pink background",
    "a big purple square on a yellow background",
    "an orange triangle at the bottom on cyan",
    "a white diamond at the top left on a blue background",
    "a red circle above a blue square on a white background",
    "a white ring to the right of a pink cross on a purple background",
)
STEPS = 12
SHOWN_STEPS = (1, 2, 4, 6, 8, 10, 12)


def channels(latents: NDArray[np.float32], size: tuple[int, int]) -> list[Image.Image]:
    """Returns a grey picture of each channel. latents: [channels, height, width]."""
    grey = [latents_dump.latents_image(channel[None, None]) for channel in latents]
    return [one.convert("RGB").resize(size, Image.Resampling.NEAREST) for one in grey]


def latents_sheet(client: Client) -> Image.Image:
    """Returns a sheet with a column for each step: the preview, and the latents' channels."""
    previews = {p.step: p for p in client.stream(PROMPTS[0], seed=SEED, steps=STEPS)}
    (picture,) = client.generate(PROMPTS[0], seed=SEED, steps=STEPS, dump_latents_every=1)
    assert picture.latents is not None
    columns = []
    for step in SHOWN_STEPS:
        estimate = from_png(previews[step].pictures[0].png)
        columns.append([estimate, *channels(picture.latents[step - 1], estimate.size)])
    return contact_sheet(
        [one for row in zip(*columns, strict=True) for one in row], len(SHOWN_STEPS)
    )


def main() -> None:
    with Client() as client:
        drawn = [from_png(one.png) for one in client.generate(PROMPTS, seed=[SEED] * len(PROMPTS))]
        contact_sheet(drawn, len(drawn)).save(DOCS / "pictures.png", optimize=True)
        latents_sheet(client).save(DOCS / "latents.png", optimize=True)


if __name__ == "__main__":
    main()

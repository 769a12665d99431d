"""The contact sheet: a sample of a run's pictures on one picture."""

from __future__ import annotations

import io

from PIL import Image, ImageOps

from batch.outputs.output_folder import OutputFolder
from batch.outputs.summary import RunSummary
from ray_stages.stages.contact_sheet import contact_sheet

FILE_NAME = "contact-sheet.png"
COLUMNS = 6
TILE = (128, 128)


def write_sample_sheet(summary: RunSummary, output: OutputFolder) -> None:
    """Writes the summary's sample, sorted by key; no file where nothing was drawn."""
    if not summary.sample:
        return
    tiles = []
    for _, key, part in sorted(summary.sample, key=lambda sampled: sampled[1]):
        picture = Image.open(io.BytesIO(output.read_picture(part, key)))
        tiles.append(ImageOps.pad(picture.convert("RGB"), TILE, color="white"))
    file = io.BytesIO()
    contact_sheet(tiles, COLUMNS).save(file, "png", optimize=True)
    output.write_file(output.path(FILE_NAME), lambda stream: stream.write(file.getvalue()))

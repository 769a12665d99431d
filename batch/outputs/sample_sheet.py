"""A sample of a run's pictures on one."""

from __future__ import annotations

import io

from PIL import Image, ImageOps

from batch.outputs.summary import Tally
from batch.outputs.writer import Store
from ray_stages.stages.contact_sheet import contact_sheet

NAME = "contact-sheet.png"
COLUMNS = 6
TILE = (128, 128)


def write_sheet(tally: Tally, store: Store) -> None:
    if not tally.sample:
        return
    tiles = []
    for _, key, part in sorted(tally.sample, key=lambda one: one[1]):
        picture = Image.open(io.BytesIO(store.picture(part, key)))
        tiles.append(ImageOps.pad(picture.convert("RGB"), TILE, color="white"))
    file = io.BytesIO()
    contact_sheet(tiles, COLUMNS).save(file, "png", optimize=True)
    store.put(store.path(NAME), lambda stream: stream.write(file.getvalue()))

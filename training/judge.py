"""Looks at a picture and says what is to be seen in it, by its pixels alone."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from training.world import IMAGE_SIZE, PALETTE, RADII, SHAPES, Scene, place_offset, shape_outlines

FRAME = 3
CONTRAST = 45.0
SMALLEST_AREA = 40
TEMPLATE_SIZE = 64

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class SeenObject:
    """One patch that is not background."""

    shape: str
    colour: str
    x: float
    y: float
    radius: float

    @property
    def size(self) -> str:
        return min(RADII, key=lambda name: abs(RADII[name] - self.radius))

    @property
    def place(self) -> tuple[int, int]:
        """(row, column), each 0…2."""
        half = place_offset(RADII[self.size]) / 2
        shifts = (self.y - IMAGE_SIZE / 2, self.x - IMAGE_SIZE / 2)
        row, column = (1 + int(shift > half) - int(shift < -half) for shift in shifts)
        return row, column


@dataclass(frozen=True)
class Seen:
    """The background's colour and the objects, the largest first."""

    background: str
    objects: tuple[SeenObject, ...]


@dataclass(frozen=True)
class Verdict:
    """What of a scene is right in a picture."""

    background: bool
    count: bool
    colour: bool
    shape: bool
    size: bool
    place: bool


def look(image: Image.Image) -> Seen:
    """What is to be seen in the picture."""
    pixels = np.asarray(image.convert("RGB")).astype(np.float64)
    border = np.ones(pixels.shape[:2], dtype=bool)
    border[FRAME:-FRAME, FRAME:-FRAME] = False
    background = _majority_colour(pixels[border])
    shade = np.median(pixels[border], axis=0)
    different = np.linalg.norm(pixels - shade, axis=-1) > CONTRAST
    labels, _ = ndimage.label(different, structure=np.ones((3, 3)))
    objects = []
    for index, box in enumerate(ndimage.find_objects(labels), start=1):
        mask: Mask = labels[box] == index
        if mask.sum() >= SMALLEST_AREA:
            objects.append((int(mask.sum()), _look_at(pixels[box], mask, box)))
    objects.sort(key=lambda pair: -pair[0])
    return Seen(background, tuple(item for _, item in objects))


def judge(scene: Scene, seen: Seen) -> Verdict:
    """Compares; the places of two objects are right if they stand to each other as asked for."""
    wanted = scene.objects
    found = seen.objects[: len(wanted)]
    background = seen.background == scene.background
    if len(found) < len(wanted):
        return Verdict(background, False, False, False, False, False)
    if scene.relation is None:
        place = found[0].place == scene.place
    else:
        vertical = scene.relation in ("above", "below")
        found = tuple(sorted(found, key=lambda item: item.y if vertical else item.x))
        if scene.relation in ("below", "right of"):
            found = found[::-1]
        dx, dy = abs(found[0].x - found[1].x), abs(found[0].y - found[1].y)
        place = dy > dx if vertical else dx > dy
    pairs = list(zip(wanted, found, strict=True))
    return Verdict(
        background,
        count=len(seen.objects) == len(wanted),
        colour=all(want.colour == item.colour for want, item in pairs),
        shape=all(want.shape == item.shape for want, item in pairs),
        size=all(want.size == item.size for want, item in pairs),
        place=place,
    )


def _look_at(pixels: NDArray[np.float64], mask: Mask, box: tuple[slice, slice]) -> SeenObject:
    inner = ndimage.binary_erosion(mask)
    colour = _majority_colour(pixels[inner if inner.any() else mask])
    rows, columns = box
    best = max(SHAPES, key=lambda shape: _overlap(mask, shape))
    half = max(rows.stop - rows.start, columns.stop - columns.start) / 2
    outline = np.array([point for points, _ in shape_outlines(best) for point in points])
    reach = (outline.max(axis=0) - outline.min(axis=0)).max() / 2
    x, y = (columns.start + columns.stop) / 2, (rows.start + rows.stop) / 2
    return SeenObject(best, colour, x, y, half / reach)


def _majority_colour(pixels: NDArray[np.float64]) -> str:
    palette = np.array(list(PALETTE.values()), dtype=np.float64)
    nearest = np.linalg.norm(pixels[:, None] - palette, axis=-1).argmin(axis=1)
    return list(PALETTE)[int(np.bincount(nearest, minlength=len(PALETTE)).argmax())]


def _overlap(mask: Mask, shape: str) -> float:
    """Intersection over union with the shape stretched to the mask's box."""
    side = (TEMPLATE_SIZE, TEMPLATE_SIZE)
    resized = np.asarray(Image.fromarray(mask).convert("L").resize(side, Image.Resampling.BILINEAR))
    seen, template = resized > 127, _template(shape)
    return float((seen & template).sum() / (seen | template).sum())


@cache
def _template(shape: str) -> Mask:
    outlines = shape_outlines(shape)
    outer = np.array(outlines[0][0])
    low, high = outer.min(axis=0), outer.max(axis=0)
    image = Image.new("L", (4 * TEMPLATE_SIZE, 4 * TEMPLATE_SIZE))
    canvas = ImageDraw.Draw(image)
    for points, hole in outlines:
        stretched = (np.array(points) - low) / (high - low) * 4 * TEMPLATE_SIZE
        canvas.polygon([(float(x), float(y)) for x, y in stretched], fill=0 if hole else 255)
    return np.asarray(image.reduce(4)) > 127

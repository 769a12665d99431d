"""Looks at a picture and says what is to be seen in it, by its pixels alone."""

from dataclasses import dataclass
from functools import cache
from itertools import permutations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from training.captions import Said
from training.shapes import shape_outlines
from training.world import IMAGE_SIZE, PALETTE, RADII, SHAPES, Object, Scene, place_offset

FRAME = 3
CONTRAST = 45.0
SMALLEST_AREA = 40
ALIKE = 0.85  # the least overlap with the drawn outline that counts as the shape
FINE = 4  # outlines are drawn at so many times the size
STRETCHES = (0.95, 1.0, 1.05)

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class SeenObject:
    """One patch that is not background.

    `shape` is the one whose drawn outline overlaps it most, `overlap` how much (intersection over
    union), and `x`, `y` and `radius` how that outline lies.
    """

    shape: str
    colour: str
    x: float
    y: float
    radius: float
    overlap: float

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

    def is_a(self, shape: str) -> bool:
        return self.shape == shape and self.overlap >= ALIKE


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

    @property
    def right(self) -> int:
        return sum(vars(self).values())


def look(image: Image.Image) -> Seen:
    """What is to be seen in the picture."""
    pixels = np.asarray(image.convert("RGB")).astype(np.float64)
    border = np.ones(pixels.shape[:2], dtype=bool)
    border[FRAME:-FRAME, FRAME:-FRAME] = False
    background = _majority_colour(pixels[border])
    objects = [(int(mask.sum()), _look_at(pixels, mask)) for mask in masks(pixels, pixels[border])]
    objects.sort(key=lambda pair: -pair[0])
    return Seen(background, tuple(item for _, item in objects))


def masks(pixels: NDArray[np.float64], border: NDArray[np.float64]) -> list[Mask]:
    """The patches that differ from the border's median colour, each as a mask of the picture."""
    different = np.linalg.norm(pixels - np.median(border, axis=0), axis=-1) > CONTRAST
    labels, count = ndimage.label(different, structure=np.ones((3, 3)))
    patches: list[Mask] = [labels == index for index in range(1, count + 1)]
    return [mask for mask in patches if mask.sum() >= SMALLEST_AREA]


def judge(scene: Scene, seen: Seen, said: Said | None = None) -> Verdict:
    """Compares a picture with what the caption says of the scene; left out, with all of it.

    The places of two objects are right if they stand to each other as asked for. Where no order
    is asked for, either of them may be the first.
    """
    said = said or _all_of(scene)
    background = not said.background or seen.background == scene.background
    found = seen.objects[: len(scene.objects)]
    if len(found) < len(scene.objects):
        return Verdict(background, False, False, False, False, False)
    orders = [found] if len(found) == 1 else _orders(found, said.relation)
    count = len(seen.objects) == len(scene.objects)
    verdicts = [_compare(scene, order, said, background, count) for order in orders]
    return max(verdicts, key=lambda verdict: verdict.right)


def _all_of(scene: Scene) -> Said:
    every = (True,) * len(scene.objects)
    return Said(True, every, every, scene.relation is None, scene.relation or "")


def _orders(found: tuple[SeenObject, ...], relation: str) -> list[tuple[SeenObject, ...]]:
    if relation not in ("above", "below", "left of", "right of"):
        return list(permutations(found))
    vertical = relation in ("above", "below")
    order = sorted(found, key=lambda item: item.y if vertical else item.x)
    return [tuple(order if relation in ("above", "left of") else order[::-1])]


def _compare(
    scene: Scene, found: tuple[SeenObject, ...], said: Said, background: bool, count: bool
) -> Verdict:
    if len(found) == 1:
        place = not said.place or found[0].place == scene.place
    else:
        dx, dy = abs(found[0].x - found[1].x), abs(found[0].y - found[1].y)
        upright = said.relation in ("above", "below", "above or below")
        place = not said.relation or (dy > dx if upright else dx > dy)
    pairs = list(zip(scene.objects, found, said.colours, said.sizes, strict=True))
    return Verdict(
        background,
        count=count,
        colour=all(not told or want.colour == item.colour for want, item, told, _ in pairs),
        shape=all(item.is_a(want.shape) for want, item, _, _ in pairs),
        size=all(not told or want.size == item.size for want, item, _, told in pairs),
        place=place,
    )


def _look_at(pixels: NDArray[np.float64], mask: Mask) -> SeenObject:
    inner = ndimage.binary_erosion(mask)
    colour = _majority_colour(pixels[inner if inner.any() else mask])
    fits = [(_overlap(mask, item), item) for shape in SHAPES for item in _fits(mask, shape)]
    overlap, best = max(fits, key=lambda fit: fit[0])
    return SeenObject(best.shape, colour, best.x, best.y, best.radius, overlap)


def _majority_colour(pixels: NDArray[np.float64]) -> str:
    palette = np.array(list(PALETTE.values()), dtype=np.float64)
    nearest = np.linalg.norm(pixels[:, None] - palette, axis=-1).argmin(axis=1)
    return list(PALETTE)[int(np.bincount(nearest, minlength=len(PALETTE)).argmax())]


def _fits(mask: Mask, shape: str) -> list[Object]:
    """Objects of the shape with about the mask's area and the same middle of gravity."""
    area, x, y = _moments(shape)
    rows, columns = np.nonzero(mask)
    radius = float(np.sqrt(mask.sum() / area))
    radii = [stretch * radius for stretch in STRETCHES]
    middle_x, middle_y = float(columns.mean()) + 0.5, float(rows.mean()) + 0.5
    return [Object(shape, "", "", middle_x - r * x, middle_y - r * y, r) for r in radii]


def _overlap(mask: Mask, item: Object) -> float:
    """Intersection over union with the outline as drawn."""
    drawn = outline_mask(item)
    return float((mask & drawn).sum() / (mask | drawn).sum())


def outline_mask(item: Object) -> Mask:
    """The pixels of which the drawn object covers at least half, [128, 128]."""
    side = IMAGE_SIZE * FINE
    image = Image.new("L", (side, side))
    canvas = ImageDraw.Draw(image)
    for points, hole in shape_outlines(item.shape):
        canvas.polygon(
            [
                (FINE * (item.x + item.radius * x), FINE * (item.y + item.radius * y))
                for x, y in points
            ],
            fill=0 if hole else 255,
        )
    mask: Mask = np.asarray(image.reduce(FINE)) > 127
    return mask


@cache
def _moments(shape: str) -> tuple[float, float, float]:
    """Area and middle of gravity of the shape of radius 1."""
    radius, middle = 48.0, IMAGE_SIZE / 2
    mask = outline_mask(Object(shape, "", "", middle, middle, radius))
    rows, columns = np.nonzero(mask)
    x, y = (float(values.mean()) + 0.5 - middle for values in (columns, rows))
    return float(mask.sum()) / radius**2, x / radius, y / radius

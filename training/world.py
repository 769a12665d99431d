"""A small world of coloured shapes: scenes, and how they look.

A scene is one object at a place, or two objects side by side, on a flat background. `sample_scene`
draws one at random and `draw` paints it, all from a `random.Random`, so a seed gives the same
picture for ever. What people say of a scene is in `captions.py`.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from PIL import Image, ImageDraw

from training.shapes import shape_outlines

IMAGE_SIZE = 128
SUPERSAMPLING = 4

Colour = tuple[int, int, int]
Relation = Literal["above", "below", "left of", "right of"]

PALETTE: dict[str, Colour] = {
    "red": (222, 36, 40),
    "green": (36, 160, 68),
    "blue": (36, 78, 220),
    "yellow": (252, 214, 38),
    "orange": (246, 130, 24),
    "purple": (128, 46, 168),
    "pink": (246, 142, 192),
    "cyan": (58, 204, 222),
    "black": (18, 18, 20),
    "white": (250, 250, 250),
    "grey": (138, 138, 140),
    "brown": (122, 74, 36),
}
COLOURS = tuple(PALETTE)
SHAPES = (
    *("circle", "square", "triangle", "star", "heart"),
    *("diamond", "ring", "cross", "crescent", "hexagon"),
)
RADII: dict[str, float] = {"small": 18.0, "medium": 26.0, "large": 36.0}
ROWS = ("top", "middle", "bottom")
COLUMNS = ("left", "centre", "right")
RELATIONS: tuple[Relation, ...] = ("above", "below", "left of", "right of")
MARGIN = 4.0
JITTER = 3.0
GRID = 8  # the autoencoder's factor: shapes on the grid look the same wherever they are
GAP = 12.0


@dataclass(frozen=True)
class Object:
    """One shape: its names, the middle and the radius in pixels."""

    shape: str
    colour: str
    size: str
    x: float
    y: float
    radius: float


@dataclass(frozen=True)
class Scene:
    """What is to be seen; `place` is (row, column) of a single object, `relation` of the first."""

    background: str
    objects: tuple[Object, ...]
    place: tuple[int, int] = (1, 1)
    relation: Relation | None = None


def place_offset(radius: float) -> float:
    """How far from the middle the outer rows and columns lie for an object of this radius."""
    return float((IMAGE_SIZE / 2 - radius - MARGIN) // GRID * GRID)


def sample_scene(
    rng: random.Random,
    two_objects: float = 0.35,
    jitter: float = 0.0,
    twins: float = 0.0,
    middle: float = 0.35,
    colours: Sequence[str] = COLOURS,
    shapes: Sequence[str] = SHAPES,
) -> Scene:
    """A random scene, with two objects in the given share of cases.

    Objects stand on a grid, shifted by up to `jitter` pixels. `twins` is the share of the pairs
    that are of the same shape, colour and size, `middle` how often an object surely stands there.
    """
    background = rng.choice(colours)
    names = [name for name in colours if name != background], shapes
    if rng.random() < two_objects:
        equal = twins > 0 and rng.random() < twins
        return _sample_pair(rng, background, jitter, equal, names)
    row, column = (1, 1) if rng.random() < middle else (rng.randrange(3), rng.randrange(3))
    shape, colour, size = _sample_looks(rng, names)
    radius = RADII[size]
    offset = place_offset(radius)
    x = IMAGE_SIZE / 2 + (column - 1) * offset + rng.uniform(-jitter, jitter)
    y = IMAGE_SIZE / 2 + (row - 1) * offset + rng.uniform(-jitter, jitter)
    return Scene(background, (Object(shape, colour, size, x, y, radius),), (row, column))


def sample_written(rng: random.Random) -> Scene:
    """A scene as the model learns it and is asked for it: more often with two objects."""
    return sample_scene(rng, two_objects=0.6, twins=0.12, middle=0.45)


def draw(scene: Scene) -> Image.Image:
    """The picture: flat colours, edges smoothed by drawing large and averaging."""
    size = IMAGE_SIZE * SUPERSAMPLING
    image = Image.new("RGB", (size, size), PALETTE[scene.background])
    canvas = ImageDraw.Draw(image)
    for item in scene.objects:
        fill = PALETTE[item.colour]
        for outline, hole in shape_outlines(item.shape):
            points = [
                (
                    SUPERSAMPLING * (item.x + item.radius * x),
                    SUPERSAMPLING * (item.y + item.radius * y),
                )
                for x, y in outline
            ]
            canvas.polygon(points, fill=PALETTE[scene.background] if hole else fill)
    return image.reduce(SUPERSAMPLING)


def _sample_looks(
    rng: random.Random, names: tuple[Sequence[str], Sequence[str]]
) -> tuple[str, str, str]:
    """Shape, colour and size. names: the colours and the shapes to choose from."""
    colours, shapes = names
    colour = rng.choice(colours)
    return rng.choice(shapes), colour, rng.choice(list(RADII))


def _sample_pair(
    rng: random.Random,
    background: str,
    jitter: float,
    equal: bool,
    names: tuple[Sequence[str], Sequence[str]],
) -> Scene:
    while True:
        looks = [_sample_looks(rng, names) for _ in range(2)]
        if equal:
            looks[1] = looks[0]
        radii = [RADII[size] for _, _, size in looks]
        if 2 * sum(radii) + GAP <= IMAGE_SIZE - 2 * MARGIN:
            break
    relation = rng.choice(RELATIONS)
    first, second = radii
    along = [-(second + GAP / 2), first + GAP / 2]
    if relation in ("below", "right of"):
        along = [-value for value in along]
    objects = []
    for (shape, colour, size), radius, shift in zip(looks, radii, along, strict=True):
        across = rng.uniform(-jitter, jitter)
        shift = GRID * round(shift / GRID) + across
        dx, dy = (across, shift) if relation in ("above", "below") else (shift, across)
        x, y = IMAGE_SIZE / 2 + dx, IMAGE_SIZE / 2 + dy
        objects.append(Object(shape, colour, size, x, y, radius))
    return Scene(background, tuple(objects), relation=relation)

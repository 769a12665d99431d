"""A small world of coloured shapes: scenes, what people say of them, and how they look.

A scene is one object at a place, or two objects side by side, on a flat background. `sample_scene`
draws one at random, `caption` says it in one of many ways and `draw` paints it, all from a
`random.Random`, so a seed gives the same picture for ever.
"""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from PIL import Image, ImageDraw

IMAGE_SIZE = 128
SUPERSAMPLING = 4

Colour = tuple[int, int, int]
Point = tuple[float, float]
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
}
SHAPES = ("circle", "square", "triangle", "star", "heart", "diamond", "ring", "cross")
RADII: dict[str, float] = {"small": 16.0, "medium": 24.0, "large": 36.0}
ROWS = ("top", "middle", "bottom")
COLUMNS = ("left", "centre", "right")
RELATIONS: tuple[Relation, ...] = ("above", "below", "left of", "right of")
MARGIN = 4.0
JITTER = 3.0
GRID = 8  # the autoencoder's factor: shapes on the grid look the same wherever they are
GAP = 12.0

SHAPE_WORDS: dict[str, tuple[str, ...]] = {
    "circle": ("circle", "circle", "circle", "disc", "disk"),
    "diamond": ("diamond", "diamond", "diamond", "rhombus"),
    "ring": ("ring", "ring", "ring", "donut"),
    "cross": ("cross", "cross", "cross", "plus"),
}
SIZE_WORDS: dict[str, tuple[str, ...]] = {
    "small": ("small", "small", "little", "tiny"),
    "medium": ("medium", "medium", "medium-sized"),
    "large": ("large", "large", "big", "huge"),
}
RELATION_WORDS: dict[Relation, tuple[str, ...]] = {
    "above": ("above", "above", "over", "on top of"),
    "below": ("below", "below", "under", "beneath"),
    "left of": ("left of", "to the left of", "on the left of"),
    "right of": ("right of", "to the right of", "on the right of"),
}
PREFIXES = ("a drawing of", "a picture of", "an image of", "a photo of", "draw")
MIDDLE_WORDS = ("centre", "center", "middle")


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


def sample_scene(rng: random.Random, two_objects: float = 0.35, jitter: float = 0.0) -> Scene:
    """A random scene, with two objects in the given share of cases.

    Objects stand on a grid, shifted by up to `jitter` pixels.
    """
    background = rng.choice(list(PALETTE))
    if rng.random() < two_objects:
        return _sample_pair(rng, background, jitter)
    row, column = (1, 1) if rng.random() < 0.35 else (rng.randrange(3), rng.randrange(3))
    shape, colour, size = _sample_looks(rng, background)
    radius = RADII[size]
    offset = place_offset(radius)
    x = IMAGE_SIZE / 2 + (column - 1) * offset + rng.uniform(-jitter, jitter)
    y = IMAGE_SIZE / 2 + (row - 1) * offset + rng.uniform(-jitter, jitter)
    return Scene(background, (Object(shape, colour, size, x, y, radius),), (row, column))


def caption(scene: Scene, rng: random.Random, complete: bool = False) -> str:
    """One of the many ways to ask for this scene; what is left out may be anything.

    A `complete` caption says everything, save that an object in the middle may go without a place.
    """
    background = say_background(scene.background, rng, complete)
    if scene.relation is None:
        place = say_place(*scene.place, rng)
        leave_out = scene.place == (1, 1) and rng.random() < 0.7
        details = [background] if leave_out else [background, place]
        if rng.random() < 0.3:
            details.reverse()
        text = " ".join([_say_object(scene.objects[0], rng, complete), *filter(None, details)])
    else:
        text = f"{_say_pair(scene, rng, complete)} {background}"
    if rng.random() < 0.08:
        text = f"{rng.choice(PREFIXES)} {text}"
    return text.replace(" ,", ",").strip() + ("." if rng.random() < 0.05 else "")


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


def shape_outlines(shape: str) -> list[tuple[list[Point], bool]]:
    """Polygons of a shape of radius 1 around the origin, y downwards; True marks a hole."""
    return _OUTLINES[shape]


def _sample_looks(rng: random.Random, background: str) -> tuple[str, str, str]:
    colour = rng.choice([name for name in PALETTE if name != background])
    return rng.choice(SHAPES), colour, rng.choice(list(RADII))


def _sample_pair(rng: random.Random, background: str, jitter: float) -> Scene:
    while True:
        looks = [_sample_looks(rng, background) for _ in range(2)]
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


def _say_object(item: Object, rng: random.Random, complete: bool) -> str:
    words = []
    if complete or rng.random() < 0.65:
        words.append(rng.choice(SIZE_WORDS[item.size]))
    if complete or rng.random() < 0.96:
        words.append(item.colour)
    words.append(rng.choice(SHAPE_WORDS.get(item.shape, (item.shape,))))
    if rng.random() < 0.7:
        words.insert(0, "the" if rng.random() < 0.1 else article(words[0]))
    return " ".join(words)


def _say_pair(scene: Scene, rng: random.Random, complete: bool) -> str:
    assert scene.relation is not None
    first, second = (_say_object(item, rng, complete) for item in scene.objects)
    if not complete and rng.random() < 0.12:
        return f"{first} and {second}"
    if not complete and scene.relation in ("left of", "right of") and rng.random() < 0.15:
        return f"{first} {rng.choice(('next to', 'beside'))} {second}"
    return f"{first} {rng.choice(RELATION_WORDS[scene.relation])} {second}"


def say_background(colour: str, rng: random.Random, complete: bool) -> str:
    if not complete and rng.random() < 0.12:
        return ""
    forms = (
        f"on {article(colour)} {colour} background",
        f"on {article(colour)} {colour} background",
        f"on {colour}",
        f", {colour} background",
        f"with {article(colour)} {colour} background",
        f"against {article(colour)} {colour} background",
        f"on {colour} background",
    )
    return rng.choice(forms)


def say_place(row: int, column: int, rng: random.Random) -> str:
    middle = rng.choice(MIDDLE_WORDS)
    if (row, column) == (1, 1):
        return rng.choice((f"in the {middle}", f"at the {middle}", f", {middle}"))
    if row == 1:
        side = COLUMNS[column]
        forms = [
            f"on the {side}",
            f"at the {side}",
            f"on the {side} side",
            f"at the {middle} {side}",
            f"in the {middle} {side}",
            f", {middle} {side}",
        ]
        return rng.choice(forms)
    vertical = ROWS[row]
    if column == 1:
        forms = [
            f"at the {vertical}",
            f"at the {vertical} {middle}",
            f"in the {vertical} {middle}",
            f", {vertical} {middle}",
        ]
        return rng.choice(forms)
    if rng.random() < 0.2:
        vertical = {"top": "upper", "bottom": "lower"}[vertical]
    corner = f"{vertical}{rng.choice((' ', ' ', ' ', '-'))}{COLUMNS[column]}"
    forms = [f"in the {corner} corner", f"in the {corner}", f"at the {corner}", f", {corner}"]
    return rng.choice(forms)


def article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def _circle(radius: float, points: int = 96) -> list[Point]:
    angles = [2 * math.pi * step / points for step in range(points)]
    return [(radius * math.cos(angle), radius * math.sin(angle)) for angle in angles]


def _star(outer: float, inner: float, dy: float) -> list[Point]:
    radii = [outer, inner] * 5
    angles = [math.pi * step / 5 - math.pi / 2 for step in range(10)]
    return [(r * math.cos(a), r * math.sin(a) + dy) for r, a in zip(radii, angles, strict=True)]


def _heart(points: int = 96) -> list[Point]:
    outline = []
    for step in range(points):
        t = 2 * math.pi * step / points
        x = 16 * math.sin(t) ** 3
        y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
        outline.append((x / 16.5, -(y + 2.5) / 16.5))
    return outline


def _cross(arm: float, length: float) -> list[Point]:
    quarter = [(arm, -length), (arm, -arm), (length, -arm)]
    turn: Callable[[Point], Point] = lambda point: (-point[1], point[0])  # noqa: E731
    outline = []
    for _ in range(4):
        outline += quarter
        quarter = [turn(point) for point in quarter]
    return outline


_OUTLINES: dict[str, list[tuple[list[Point], bool]]] = {
    "circle": [(_circle(0.95), False)],
    "square": [([(-0.84, -0.84), (0.84, -0.84), (0.84, 0.84), (-0.84, 0.84)], False)],
    "triangle": [([(0.0, -0.92), (1.0, 0.8), (-1.0, 0.8)], False)],
    "star": [(_star(1.08, 0.44, 0.08), False)],
    "heart": [(_heart(), False)],
    "diamond": [([(0.0, -1.05), (0.74, 0.0), (0.0, 1.05), (-0.74, 0.0)], False)],
    "ring": [(_circle(0.97), False), (_circle(0.55), True)],
    "cross": [(_cross(0.3, 0.97), False)],
}

"""The outlines of the shapes: polygons of radius 1 around the origin, y downwards."""

import math
from collections.abc import Callable

Point = tuple[float, float]


def shape_outlines(shape: str) -> list[tuple[list[Point], bool]]:
    """Polygons of a shape of radius 1 around the origin, y downwards; True marks a hole."""
    return _OUTLINES[shape]


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


def _crescent(outer: float, inner: float, apart: float, points: int = 64) -> list[Point]:
    """A disc less another one to its right, moved so that its box is around the origin."""
    x = (apart**2 + outer**2 - inner**2) / (2 * apart)
    y = math.sqrt(outer**2 - x**2)
    first, last = math.atan2(y, x), 2 * math.pi - math.atan2(y, x)
    back, front = math.atan2(y, x - apart), 2 * math.pi - math.atan2(y, x - apart)
    shares = [step / points for step in range(points + 1)]
    angles = [first + share * (last - first) for share in shares]
    outline = [(outer * math.cos(a), outer * math.sin(a)) for a in angles]
    angles = [front + share * (back - front) for share in shares]
    outline += [(apart + inner * math.cos(a), inner * math.sin(a)) for a in angles]
    shift = (outer - x) / 2
    return [(px + shift, py) for px, py in outline]


def _hexagon(radius: float) -> list[Point]:
    angles = [math.pi * (step / 3 - 0.5) for step in range(6)]
    return [(radius * math.cos(angle), radius * math.sin(angle)) for angle in angles]


_OUTLINES: dict[str, list[tuple[list[Point], bool]]] = {
    "circle": [(_circle(0.95), False)],
    "square": [([(-0.84, -0.84), (0.84, -0.84), (0.84, 0.84), (-0.84, 0.84)], False)],
    "triangle": [([(0.0, -0.92), (1.0, 0.8), (-1.0, 0.8)], False)],
    "star": [(_star(1.08, 0.44, 0.08), False)],
    "heart": [(_heart(), False)],
    "diamond": [([(0.0, -1.05), (0.74, 0.0), (0.0, 1.05), (-0.74, 0.0)], False)],
    "ring": [(_circle(0.97), False), (_circle(0.55), True)],
    "cross": [(_cross(0.3, 0.97), False)],
    "crescent": [(_crescent(0.98, 0.82, 0.45), False)],
    "hexagon": [(_hexagon(1.02), False)],
}

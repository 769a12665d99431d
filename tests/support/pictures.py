"""Picture files for tests: good ones, and some that mean no good."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from ray_stages.requests.image_file import PNG_SIGNATURE

RED, BLUE, WHITE = (222, 36, 40), (36, 78, 220), (250, 250, 250)  # the miniature's own
TOLERANCE = 2  # of 255: what arithmetic in another order may change
MAX_DIFFERING_SHARE = (
    0.01  # of the pixels: what half precision may change; see `share_of_differing_pixels`
)


def circle(size: int = 128, fill: tuple[int, int, int] = RED) -> Image.Image:
    """As the miniature draws a large one: in the middle, on white."""
    image = Image.new("RGB", (size, size), WHITE)
    ImageDraw.Draw(image).ellipse([size // 4, size // 4, 3 * size // 4, 3 * size // 4], fill)
    return image


def gradient(width: int, height: int) -> Image.Image:
    """No two of its corners are alike, and there is something to resize."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([x, y, 255 - x], axis=-1).astype(np.uint8))


def encoded(image: Image.Image, kind: str = "png", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(name + data)
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", checksum)


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that would be a picture of any size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    return PNG_SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


CIRCLE = circle()


def pixels(picture: bytes | Image.Image) -> Any:
    """Signed, so that they can be subtracted."""
    image = Image.open(io.BytesIO(picture)) if isinstance(picture, bytes) else picture
    return np.asarray(image.convert("RGB")).astype(int)


def share_of_differing_pixels(one: bytes | Image.Image, other: bytes | Image.Image) -> float:
    """Of the pixels, those of which any value is off by more than 8 of 255."""
    ours, theirs = pixels(one), pixels(other)
    assert ours.shape == theirs.shape
    return float((np.abs(ours - theirs).max(axis=-1) > 8).mean())


def difference(one: bytes | Image.Image, other: bytes | Image.Image) -> int:
    """The largest of any two values, of 255."""
    ours, theirs = pixels(one), pixels(other)
    assert ours.shape == theirs.shape
    return int(np.abs(ours - theirs).max())

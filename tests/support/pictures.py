"""Image files for tests, valid and malicious ones, and comparisons of pictures."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from ray_stages.requests.image_file import PNG_SIGNATURE

# Colours of the miniature checkpoint's pictures.
RED, BLUE, WHITE = (222, 36, 40), (36, 78, 220), (250, 250, 250)
TOLERANCE = 2  # of 255: rounding in another order may change so much
MAX_DIFFERING_SHARE = 0.01  # half precision may change so much; see `share_of_differing_pixels`


def circle(size: int = 128, fill: tuple[int, int, int] = RED) -> Image.Image:
    """A large circle on white, as the miniature checkpoint draws it."""
    image = Image.new("RGB", (size, size), WHITE)
    ImageDraw.Draw(image).ellipse([size // 4, size // 4, 3 * size // 4, 3 * size // 4], fill)
    return image


def gradient(width: int, height: int) -> Image.Image:
    """An image with different corners, so that a rotated or resized one is told apart."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([x, y, 255 - x], axis=-1).astype(np.uint8))


def encoded(image: Image.Image, kind: str = "png", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png_chunk(name: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(name + data)
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", checksum)


def bomb(width: int, height: int) -> bytes:
    """A PNG file of a few bytes whose header claims any size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    return (
        PNG_SIGNATURE
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", pixels)
        + png_chunk(b"IEND", b"")
    )


CIRCLE = circle()


def pixels(picture: bytes | Image.Image) -> Any:
    """Returns RGB values as signed integers, [height, width, 3]."""
    image = Image.open(io.BytesIO(picture)) if isinstance(picture, bytes) else picture
    return np.asarray(image.convert("RGB")).astype(int)


def share_of_differing_pixels(one: bytes | Image.Image, other: bytes | Image.Image) -> float:
    """Returns the share of the pixels of which a value differs by more than 8 of 255."""
    ours, theirs = pixels(one), pixels(other)
    assert ours.shape == theirs.shape
    return float((np.abs(ours - theirs).max(axis=-1) > 8).mean())


def max_difference(one: bytes | Image.Image, other: bytes | Image.Image) -> int:
    """Returns the largest difference of two values, of 255."""
    ours, theirs = pixels(one), pixels(other)
    assert ours.shape == theirs.shape
    return int(np.abs(ours - theirs).max())

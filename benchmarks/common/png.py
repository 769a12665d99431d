"""PNG files in memory."""

from __future__ import annotations

import io

from PIL import Image

PNG = b"\x89PNG"  # the first bytes of every file


def to_png(image: Image.Image) -> bytes:
    """Encodes an image."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def from_png(png: bytes) -> Image.Image:
    """Decodes an image as RGB."""
    return Image.open(io.BytesIO(png)).convert("RGB")

"""Pictures to PNG files and back."""

from __future__ import annotations

import io

from PIL import Image

PNG = b"\x89PNG"  # how the files begin


def to_png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def from_png(png: bytes) -> Image.Image:
    return Image.open(io.BytesIO(png)).convert("RGB")

"""Conversion of Triton's PNG files to the requested image format."""

from __future__ import annotations

import asyncio
import io
from typing import Any, NamedTuple

from PIL import Image

SIGNATURES = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"RIFF": "image/webp"}
# The OpenAPI description of a route whose response is an image file.
IMAGE_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"content": {kind: {} for kind in SIGNATURES.values()}}
}
PARAMETERS = "parameters"  # the keyword of the PNG text chunk with the generation parameters
EXIF_DESCRIPTION = 0x010E
BEST_QUALITY = 100


class Format(NamedTuple):
    """name: png, jpeg or webp; compression: the quality of jpeg and webp, 0 to 100."""

    name: str = "png"
    compression: int | None = None

    async def encode(self, png: bytes) -> bytes:
        """The file in this format, made in a thread. EXIF keeps the generation parameters."""
        return png if self.name == "png" else await asyncio.to_thread(self._encode, png)

    def _encode(self, png: bytes) -> bytes:
        image = Image.open(io.BytesIO(png))
        exif = Image.Exif()
        exif[EXIF_DESCRIPTION] = str(image.info.get(PARAMETERS, ""))
        quality = BEST_QUALITY if self.compression is None else self.compression
        file = io.BytesIO()
        image.convert("RGB").save(file, self.name, quality=quality, exif=exif)
        return file.getvalue()


def media_type(file: bytes) -> str:
    kinds = (kind for signature, kind in SIGNATURES.items() if file.startswith(signature))
    return next(kinds, "application/octet-stream")

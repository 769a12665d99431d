"""Reads untrusted image files: PNG, JPEG or WebP. Bridges import this, so it must not import torch.

Size and format are checked before anything is decoded. Raises InvalidRequest, which names the
position of the file in the request.
"""

from __future__ import annotations

import contextlib
import io
import struct
from collections.abc import Iterator

from PIL import Image, ImageOps, UnidentifiedImageError

from ray_stages.errors import InvalidRequest

FIELD = "init_image"
FORMATS = ("PNG", "JPEG", "WEBP")
EXPECTED = "a PNG, JPEG or WebP file"
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Compressed chunks of a PNG that we do not use; Pillow inflates each, up to a megabyte.
COMPRESSED_CHUNKS = (b"iCCP", b"iTXt", b"zTXt")


class _BoundedReader(io.BytesIO):
    """Limits the number of reads: Pillow takes seconds for a file of a million tiny chunks."""

    def __init__(self, file: bytes) -> None:
        file = _drop_compressed_chunks(file) if file.startswith(PNG_SIGNATURE) else file
        super().__init__(file)
        self.reads_left = 10_000 + len(file) // 1024

    def read(self, size: int | None = -1) -> bytes:
        self.reads_left -= 1
        if self.reads_left < 0:
            raise OSError("too many chunks")
        return super().read(size)


def _drop_compressed_chunks(png: bytes) -> bytes:
    kept, begin = [PNG_SIGNATURE], len(PNG_SIGNATURE)
    while begin < len(png):
        length, name = struct.unpack(">I4s", png[begin : begin + 8].ljust(8, b"\0"))
        end = begin + length + 12  # 4 bytes of length, 4 of name, 4 of checksum
        if name not in COMPRESSED_CHUNKS:
            kept.append(png[begin:end])
        begin = end
    return b"".join(kept)


def check_header(file: bytes, position: int, max_bytes: int) -> None:
    """Checks length and signature, which takes no time whatever the file contains."""
    if len(file) > max_bytes:
        raise InvalidRequest(
            FIELD, f"{len(file)} bytes at position {position}", f"at most {max_bytes}"
        )
    webp = file[:4] == b"RIFF" and file[8:12] == b"WEBP"
    if not webp and not file.startswith((PNG_SIGNATURE, b"\xff\xd8\xff")):
        got = f"{len(file)} bytes of another kind at position {position}"
        raise InvalidRequest(FIELD, got, EXPECTED)


def read(file: bytes, position: int, max_pixels: int) -> Image.Image:
    """Returns the image in RGB, rotated as its EXIF data say, transparency on white.

    Of an animation it returns the first frame.
    """
    with _invalid_request_on_error(position, max_pixels):
        image = Image.open(_BoundedReader(file), formats=FORMATS)
        width, height = image.size
        if width * height > max_pixels:
            raise _too_large(f"{width}x{height} pixels", position, max_pixels)
        return _rgb(ImageOps.exif_transpose(image))


def fit_size(
    own: tuple[int, int],
    requested: tuple[int | None, int | None],
    multiple: int,
    bounds: tuple[int, int],
) -> tuple[int, int]:
    """Returns the height and width to draw at, in pixels, for an image of `own` height and width.

    A requested side is returned as it is. The other keeps the image's proportions, rounded down to
    a multiple of `multiple`. If neither is requested, both follow the image's own size, reduced to
    the maximum. bounds: minimum and maximum of a side.
    """
    least, most = bounds
    new, old = min(most, max(own)), max(own)
    for request, side in zip(requested, own, strict=True):
        if request:
            new, old = request, side
    sides = []
    for request, side in zip(requested, own, strict=True):
        pixels = side * new // old  # integer arithmetic: a float may be just below the result
        sides.append(request or min(max(pixels - pixels % multiple, least), most))
    return sides[0], sides[1]


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow's `convert` would clip to white
        return image.point(lambda grey: grey * (1 / 257)).convert("L").convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=image)
    return white


@contextlib.contextmanager
def _invalid_request_on_error(position: int, max_pixels: int) -> Iterator[None]:
    """Turns Pillow's errors into InvalidRequest."""
    try:
        yield
    except InvalidRequest:
        raise
    except Image.DecompressionBombError:
        raise _too_large("a decompression bomb", position, max_pixels) from None
    except UnidentifiedImageError:
        raise _damaged("its header", position) from None
    except Exception as error:  # Pillow raises anything for a damaged file
        raise _damaged(str(error), position) from error


def _too_large(got: str, position: int, max_pixels: int) -> InvalidRequest:
    return InvalidRequest(FIELD, f"{got} at position {position}", f"at most {max_pixels} pixels")


def _damaged(why: str, position: int) -> InvalidRequest:
    got = f"a damaged file at position {position} ({why[:80]})"
    return InvalidRequest(FIELD, got, EXPECTED)

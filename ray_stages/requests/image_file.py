"""Picture files from strangers: PNG, JPEG or WebP, bounded before anything is decoded. No torch."""

from __future__ import annotations

import contextlib
import io
import struct
from collections.abc import Iterator

from PIL import Image, ImageOps, UnidentifiedImageError

from ray_stages.errors import InvalidRequest

FIELD = "init_image"
FORMATS = ("PNG", "JPEG", "WEBP")
KINDS = "a PNG, JPEG or WebP file"
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Chunks of a PNG that Pillow inflates as it meets them, to a megabyte each, and we do not use.
INFLATED = (b"iCCP", b"iTXt", b"zTXt")


class _Source(io.BytesIO):
    """A file made of a million tiny chunks would keep Pillow busy for seconds: no real one is."""

    def __init__(self, file: bytes) -> None:
        file = _without_inflated(file) if file.startswith(PNG_SIGNATURE) else file
        super().__init__(file)
        self.reads_left = 10_000 + len(file) // 1024

    def read(self, size: int | None = -1) -> bytes:
        self.reads_left -= 1
        if self.reads_left < 0:
            raise OSError("too many chunks")
        return super().read(size)


def _without_inflated(png: bytes) -> bytes:
    """Without the chunks that would be inflated."""
    kept, begin = [PNG_SIGNATURE], len(PNG_SIGNATURE)
    while begin < len(png):
        length, name = struct.unpack(">I4s", png[begin : begin + 8].ljust(8, b"\0"))
        end = begin + length + 12  # with length, name and checksum
        if name not in INFLATED:
            kept.append(png[begin:end])
        begin = end
    return b"".join(kept)


def check(file: bytes, position: int, max_bytes: int) -> None:
    """What can be said of a file in no time, whatever is in it."""
    if len(file) > max_bytes:
        raise InvalidRequest(
            FIELD, f"{len(file)} bytes at position {position}", f"at most {max_bytes}"
        )
    webp = file[:4] == b"RIFF" and file[8:12] == b"WEBP"
    if not webp and not file.startswith((PNG_SIGNATURE, b"\xff\xd8\xff")):
        got = f"{len(file)} bytes of another kind at position {position}"
        raise InvalidRequest(FIELD, got, KINDS)


def read(file: bytes, position: int, max_pixels: int) -> Image.Image:
    """The picture in RGB, upright, what is transparent on white; an animation's first frame."""
    with _refusing(position, max_pixels):
        image = Image.open(_Source(file), formats=FORMATS)
        width, height = image.size
        if width * height > max_pixels:
            raise _too_large(f"{width}x{height} pixels", position, max_pixels)
        return _rgb(ImageOps.exif_transpose(image))


def fitted(
    own: tuple[int, int],
    wished: tuple[int | None, int | None],
    multiple: int,
    bounds: tuple[int, int],
) -> tuple[int, int]:
    """The height and width to draw at; all pairs but `bounds`, the least and most, are such.

    What is wished is taken. Else the sides keep their proportion: they follow the one that is
    wished, or the picture's own size, made smaller where it is over the most.
    """
    least, most = bounds
    new, old = min(most, max(own)), max(own)
    for wish, side in zip(wished, own, strict=True):
        if wish:
            new, old = wish, side
    sides = []
    for wish, side in zip(wished, own, strict=True):
        pixels = side * new // old  # in integers: a float may fall just short
        sides.append(wish or min(max(pixels - pixels % multiple, least), most))
    return sides[0], sides[1]


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits of grey, which Pillow would clip to white
        return image.point(lambda grey: grey * (1 / 257)).convert("L").convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=image)
    return white


@contextlib.contextmanager
def _refusing(position: int, max_pixels: int) -> Iterator[None]:
    try:
        yield
    except InvalidRequest:
        raise
    except Image.DecompressionBombError:
        raise _too_large("a decompression bomb", position, max_pixels) from None
    except UnidentifiedImageError:
        raise _damaged("its header", position) from None
    except Exception as error:  # whatever a broken place in a file makes Pillow stumble over
        raise _damaged(str(error), position) from error


def _too_large(got: str, position: int, max_pixels: int) -> InvalidRequest:
    return InvalidRequest(FIELD, f"{got} at position {position}", f"at most {max_pixels} pixels")


def _damaged(why: str, position: int) -> InvalidRequest:
    got = f"a damaged file at position {position} ({why[:80]})"
    return InvalidRequest(FIELD, got, KINDS)

"""Strategies for image files: valid, cut short, damaged, and with false headers."""

from __future__ import annotations

import struct
import zlib
from functools import cache

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from ray_stages.requests.image_file import PNG_SIGNATURE
from tests.support.pictures import bomb, circle, encoded, png_chunk

SIDES = st.sampled_from([0, 1, 7, 63, 64, 65, 5000, 65_535, 2**31 - 1, 2**31, 2**32 - 1])
DEPTHS = st.sampled_from([0, 1, 2, 3, 8, 16, 255])
NAMES = st.sampled_from([b"IDAT", b"iCCP", b"zTXt", b"iTXt", b"eXIf", b"fcTL", b"acTL", b"XXXX"])


@cache
def whole() -> tuple[bytes, ...]:
    kinds = [encoded(circle(64), kind) for kind in ("png", "jpeg", "webp")]
    modes = [encoded(circle(64).convert(mode)) for mode in ("L", "P", "1", "RGBA", "LA")]
    return (*kinds, *modes, encoded(circle(1)), encoded(circle(300)), encoded(circle(64), "gif"))


WHOLE = st.sampled_from(whole())


@st.composite
def cut(draw: DrawFn) -> bytes:
    file = draw(WHOLE)
    return file[: draw(st.integers(0, len(file)))]


@st.composite
def damaged(draw: DrawFn) -> bytes:
    """A valid file with a few bytes changed."""
    file = bytearray(draw(WHOLE))
    for _ in range(draw(st.integers(1, 8))):
        place = draw(st.integers(0, len(file) - 1))
        file[place] = draw(st.integers(0, 255))
    return bytes(file)


@st.composite
def lying_png(draw: DrawFn) -> bytes:
    """Well-formed chunks with false contents."""
    fields = (draw(SIDES), draw(SIDES), draw(DEPTHS), draw(DEPTHS), 0, 0, draw(st.integers(0, 2)))
    header = struct.pack(">IIBBBBB", *fields)
    chunks = [png_chunk(b"IHDR", header)]
    for _ in range(draw(st.integers(0, 4))):
        data = draw(st.binary(max_size=40))
        chunks.append(png_chunk(draw(NAMES), zlib.compress(data) if draw(st.booleans()) else data))
    length = draw(st.sampled_from([0, 5, 2**31 - 1, 2**32 - 1]))
    chunks.append(struct.pack(">I4s", length, b"IDAT") + draw(st.binary(max_size=20)))
    return PNG_SIGNATURE + b"".join(chunks)


@st.composite
def lying_webp(draw: DrawFn) -> bytes:
    length = struct.pack("<I", draw(st.sampled_from([0, 12, 2**31, 2**32 - 1])))
    kind = draw(st.sampled_from([b"VP8 ", b"VP8L", b"VP8X", b"ANIM"]))
    return b"RIFF" + length + b"WEBP" + kind + length + draw(st.binary(max_size=60))


BOMBS = st.sampled_from([bomb(65_535, 65_535), bomb(6000, 6000), bomb(2**31 - 1, 1)])
STARTS = st.sampled_from([b"", PNG_SIGNATURE, b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBP", b"GIF89a"])
NOISE = st.builds(bytes.__add__, STARTS, st.binary(max_size=300))


def hostile() -> SearchStrategy[bytes]:
    return st.one_of(cut(), damaged(), lying_png(), lying_webp(), BOMBS, NOISE)

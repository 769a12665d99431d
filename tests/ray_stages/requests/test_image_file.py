from __future__ import annotations

import contextlib
import time
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ray_stages.errors import InvalidRequest
from ray_stages.requests import image_file
from ray_stages.requests.image_file import PNG_SIGNATURE
from tests.support.pictures import BLUE, RED, bomb, circle, encoded, gradient, png_chunk

MAX_PIXELS = 1_000_000
WHOLE = encoded(gradient(80, 60))


def read(file: bytes) -> Any:
    return np.asarray(image_file.read(file, 0, MAX_PIXELS)).astype(int)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (b"", "init_image: got 0 bytes of another kind at position 3, expected a PNG, JPEG or"),
        (b"GIF89a" + bytes(9), "init_image: got 15 bytes of another kind at position 3"),
        (encoded(circle(16), "bmp"), "init_image: got .* bytes of another kind"),
        (b"RIFF\0\0\0\0WAVE", "init_image: got 12 bytes of another kind"),
        (WHOLE + bytes(5000), "init_image: got .* bytes at position 3, expected at most 5000"),
    ],
)
def test_wrong_length_or_signature_is_refused_without_decoding(file: bytes, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        image_file.check_header(file, 3, 5000)


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_png_jpeg_and_webp_are_read(kind: str) -> None:
    image = gradient(80, 60)
    file = encoded(image, kind)
    image_file.check_header(file, 0, 100_000)
    assert np.abs(read(file) - np.asarray(image)).mean() < 3


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (bomb(1001, 1000), "got 1001x1000 pixels at position 2, expected at most 1000000 pixels"),
        (bomb(100_000, 100_000), "got a decompression bomb at position 2, expected at most 10"),
        (encoded(Image.new("1", (2000, 2000)), "webp"), "got 2000x2000 pixels"),
        (PNG_SIGNATURE + bytes(50), r"got a damaged file at position 2 \(its header\)"),
        (b"\xff\xd8\xff\xe0" + bytes(50), "got a damaged file"),
        (b"RIFF\x20\0\0\0WEBP" + bytes(50), "got a damaged file"),
        (WHOLE[: len(WHOLE) // 2], "got a damaged file at position 2 .* PNG, JPEG or WebP"),
        (encoded(circle(), "jpeg")[:-900], r"got a damaged file at .* \(image file is truncated"),
        (encoded(circle(), "webp")[:-50], "got a damaged file"),
        (WHOLE.replace(b"IDAT", b"IDAX"), "got a damaged file"),
    ],
)
def test_large_and_damaged_files_are_refused(file: bytes, message: str) -> None:
    with pytest.raises(InvalidRequest, match=f"init_image: {message}"):
        image_file.read(file, 2, MAX_PIXELS)


@pytest.mark.parametrize("position", range(0, len(WHOLE), 7))
def test_a_flipped_byte_gives_a_refusal_or_an_image(position: int) -> None:
    for kind in ("png", "jpeg", "webp"):
        file = bytearray(encoded(gradient(80, 60), kind))
        file[position % len(file)] ^= 0xA5
        with contextlib.suppress(InvalidRequest):
            image_file.read(bytes(file), 0, MAX_PIXELS)


@pytest.mark.parametrize(
    ("begin", "tiny"),
    [(b"\xff\xd8\xff\xe0\0\2", b"\xff\xe1\0\2"), (WHOLE[:33], png_chunk(b"teXt", b""))],
    ids=["jpeg", "png"],
)
def test_a_file_of_countless_chunks_is_refused_quickly(begin: bytes, tiny: bytes) -> None:
    file = begin + tiny * (8_000_000 // len(tiny)) + WHOLE[33:]
    start = time.process_time()
    with pytest.raises(InvalidRequest, match="too many chunks"):
        image_file.read(file, 0, MAX_PIXELS)
    assert time.process_time() - start < 2


def test_compressed_metadata_is_not_inflated() -> None:
    inflated = png_chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(900_000), 9))
    start = time.process_time()
    for place in (WHOLE.index(b"IDAT"), WHOLE.index(b"IEND")):
        file = WHOLE[: place - 4] + inflated * 3000 + WHOLE[place - 4 :]
        assert (read(file) == np.asarray(gradient(80, 60))).all()
    assert time.process_time() - start < 2


def test_exif_orientation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned to the right
    turned = read(encoded(gradient(80, 60), "png", exif=exif))
    assert (turned == np.rot90(np.asarray(gradient(80, 60)), -1)).all()


def test_transparency_becomes_white() -> None:
    image = Image.new("RGBA", (80, 60), "red")
    image.putalpha(128)
    assert (np.abs(read(encoded(image))[30, 40] - [255, 127, 127]) <= 1).all()
    image.putalpha(0)
    assert (read(encoded(image)) == 255).all()
    assert (read(encoded(Image.new("LA", (8, 8), (0, 0)))) == 255).all()
    palette = Image.new("P", (8, 8), 0)
    assert (read(encoded(palette, transparency=0)) == 255).all()


def test_an_animation_gives_its_first_frame() -> None:
    frames = [circle(fill=BLUE), circle(fill=RED)]
    for kind in ("png", "webp"):
        file = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        assert (np.abs(read(file)[64, 64] - BLUE) < 8).all()


def test_16_bit_grey_and_cmyk_are_read() -> None:
    greys = Image.fromarray(np.full((8, 8), 0x8080, np.uint16))
    assert (read(encoded(greys)) == 128).all()
    assert read(encoded(circle().convert("CMYK"), "jpeg"))[64, 64, 0] > 180


@pytest.mark.parametrize(
    ("own", "requested", "size"),
    [
        ((128, 128), (None, None), (128, 128)),
        ((135, 71), (None, None), (128, 64)),
        ((768, 512), (None, None), (256, 168)),
        ((20, 3000), (None, None), (64, 256)),
        ((16, 32), (None, None), (64, 64)),
        ((768, 768), (128, 64), (128, 64)),
        ((768, 384), (128, None), (128, 64)),
        ((384, 768), (None, 128), (64, 128)),
        ((768, 96), (None, 128), (256, 128)),
    ],
)
def test_the_size_is_the_requested_or_the_images_own_within_limits(
    own: tuple[int, int], requested: tuple[int | None, int | None], size: tuple[int, int]
) -> None:
    assert image_file.fit_size(own, requested, 8, (64, 256)) == size

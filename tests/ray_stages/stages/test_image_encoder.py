from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from diffusers.image_processor import VaeImageProcessor

from ray_stages.errors import InvalidRequest
from ray_stages.families.checkpoint import Checkpoint
from ray_stages.requests.stage_requests import EncodeImageRequest
from ray_stages.stages.image_encoder import MAX_PICTURES, ImageEncoder
from tests.support.pictures import bomb, encoded, gradient


@pytest.fixture
def encoder(load: Callable[[str], Checkpoint]) -> ImageEncoder:
    return ImageEncoder(load("sd15"))


def test_pixels_and_moments_equal_those_of_diffusers(
    encoder: ImageEncoder, load: Callable[[str], Checkpoint]
) -> None:
    image = gradient(100, 70)
    theirs = VaeImageProcessor().preprocess(image)
    ours = encoder.read(EncodeImageRequest([encoded(image)]))
    assert ours.shape == (1, 64, 96, 3)
    assert np.allclose(ours.transpose(0, 3, 1, 2) / 127.5 - 1, theirs.numpy(), atol=1e-6)
    with torch.inference_mode():
        posterior = load("sd15").vae().encode(theirs).latent_dist
    (moments,) = encoder.encode([ours])
    assert moments.shape == (1, 8, 8, 12)
    assert moments.dtype == np.float32
    assert np.allclose(moments, posterior.parameters.numpy(), atol=1e-5)


def test_all_pictures_of_a_request_get_one_size(encoder: ImageEncoder) -> None:
    files = [encoded(gradient(96, 64)), encoded(gradient(300, 20), "webp")]
    assert encoder.read(EncodeImageRequest(files)).shape == (2, 64, 96, 3)
    assert encoder.read(EncodeImageRequest(files, height=72, width=64)).shape == (2, 72, 64, 3)
    assert encoder.read(EncodeImageRequest(files, height=128)).shape == (2, 128, 128, 3)
    assert encoder.read(EncodeImageRequest([encoded(gradient(640, 320))])).shape == (1, 64, 128, 3)


def test_requests_of_any_size_keep_their_order(encoder: ImageEncoder) -> None:
    rng = np.random.default_rng(0)
    shapes = [(2, 64, 64, 3), (1, 64, 96, 3), (MAX_PICTURES, 64, 64, 3)]
    requests = [rng.integers(0, 256, shape).astype(np.uint8) for shape in shapes]
    together = encoder.encode(requests)
    assert [moments.shape for moments in together] == [
        (2, 8, 8, 8),
        (1, 8, 8, 12),
        (MAX_PICTURES, 8, 8, 8),
    ]
    for request, moments in zip(requests, together, strict=True):
        assert np.allclose(encoder.encode([request])[0], moments, atol=1e-4)


def test_the_error_names_the_bad_file(encoder: ImageEncoder) -> None:
    with pytest.raises(InvalidRequest, match="got 8000x8000 pixels at position 1"):
        encoder.read(EncodeImageRequest([encoded(gradient(64, 64)), bomb(8000, 8000)]))

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image

from ray_stages.errors import StageFailed
from ray_stages.families.checkpoint import Checkpoint
from ray_stages.requests.stage_requests import DecodeRequest
from ray_stages.runtimes import eager
from ray_stages.runtimes.memory import compute_each
from ray_stages.runtimes.network import Network, Runtime, Tensors
from ray_stages.stages.image_decoder import ImageDecoder, encode_png

PIXELS = np.arange(16 * 8 * 3, dtype=np.uint8).reshape(16, 8, 3)


def read(png: bytes) -> Image.Image:
    return Image.open(io.BytesIO(png))


def test_pixels_come_back_from_the_png() -> None:
    assert (np.asarray(read(encode_png(PIXELS, {}, "m"))) == PIXELS).all()


def test_the_png_has_the_parameters_as_automatic1111_writes_them() -> None:
    parameters = {
        "prompt": "a red circle",
        "negative_prompt": "blurry",
        "seed": "7",
        "steps": "20",
        "guidance_scale": "7.5",
        "scheduler": "dpmpp_2m",
    }
    assert read(encode_png(PIXELS, parameters, "miniature-sd")).info["parameters"] == (
        "a red circle\n"
        "Negative prompt: blurry\n"
        "Steps: 20, Sampler: DPM++ 2M, CFG scale: 7.5, Seed: 7, Size: 8x16, "
        "Model: miniature-sd, Version: latent-relay"
    )


def test_a_picture_that_began_at_another_tells_how_far_it_went() -> None:
    parameters = {"steps": "20", "strength": "0.6"}
    text = read(encode_png(PIXELS, parameters, "m")).info["parameters"]
    assert text == (
        "Steps: 20, Size: 8x16, Model: m, Denoising strength: 0.6, Version: latent-relay"
    )


def test_any_script_fits_into_the_png() -> None:
    prompt = "en röd cirkel ⭐ 星"
    info = read(encode_png(PIXELS, {"prompt": prompt}, "m")).info
    assert info["parameters"].splitlines()[0] == prompt


def test_without_parameters_it_tells_size_and_model() -> None:
    text = read(encode_png(PIXELS, {}, "m")).info["parameters"]
    assert text == "Size: 8x16, Model: m, Version: latent-relay"


def test_requests_of_any_size_keep_their_order(load: Callable[[str], Checkpoint]) -> None:
    decoder = ImageDecoder(load("sd15"))
    rng = np.random.default_rng(0)
    shapes = [(2, 4, 8, 8), (1, 4, 8, 12), (1, 4, 8, 8)]
    requests = [
        DecodeRequest(rng.normal(size=shape).astype(np.float32), [{}] * shape[0])
        for shape in shapes
    ]
    together = decoder.decode(requests)
    assert [[read(png).size for png in files] for files in together] == [
        [(64, 64)] * 2,
        [(96, 64)],
        [(64, 64)],
    ]
    for request, files in zip(requests, together, strict=True):
        for alone, png in zip(decoder.decode([request])[0], files, strict=True):
            difference = np.asarray(read(alone)).astype(int) - np.asarray(read(png))
            assert np.abs(difference).max() <= 1


def test_latents_that_overflow_harm_no_other_and_never_become_black(
    load: Callable[[str], Checkpoint],
) -> None:
    def overflowing(network: Network) -> Runtime:
        def compute(latents: torch.Tensor) -> Tensors:
            (pixels,) = eager.open_as_loaded(network).compute(latents)
            return (torch.where(latents.amax((1, 2, 3), keepdim=True) > 50, torch.nan, pixels),)

        return Runtime("torch", "float32", compute, network=network.name)

    decoder = ImageDecoder(load("sd15"), overflowing)
    latents = np.zeros((1, 4, 8, 8), np.float32)
    good, bad = (DecodeRequest(latents + value, [{}], "raw") for value in (1, 100))
    drawn, refused = compute_each(decoder.decode, [good, bad])
    assert drawn == decoder.decode([good])[0]
    assert isinstance(refused, StageFailed)
    assert str(refused).startswith("vae_decoder: the result is not finite")

"""Pictures to begin at, against a real stack."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from PIL import Image
from tritonclient.utils import InferenceServerException

from tests.support.paths import ROOT
from tests.support.pictures import (
    BLUE,
    CIRCLE,
    MAX_DIFFERING_SHARE,
    TOLERANCE,
    bomb,
    circle,
    encoded,
    gradient,
    max_difference,
    pixels,
    share_of_differing_pixels,
)
from tests.support.stacks import (
    IMAGE_TO_IMAGE,
    IMAGE_TO_IMAGE_STAGES,
    STAR,
    Stack,
    image_to_image_options,
    log_contains,
    looks_like_the_star,
    tensors,
)
from tests.support.waiting import wait_until


def distance(png: bytes, image: Image.Image) -> float:
    """Mean of the differences, of 255."""
    return float(np.abs(pixels(png) - pixels(image)).mean())


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_little_strength_keeps_the_picture(stack: Stack, kind: str) -> None:
    options = image_to_image_options(init_image=encoded(CIRCLE, kind), strength=0.1)
    (picture,) = stack.draw("a large red circle on a white background", **options)
    assert distance(picture, CIRCLE) < 8


def test_the_more_strength_the_more_is_drawn_anew(stack: Stack) -> None:
    pictures = [
        stack.draw(STAR, **image_to_image_options(strength=strength))[0]
        for strength in (0.1, 0.6, 1.0)
    ]
    near, between, far = (distance(picture, CIRCLE) for picture in pictures)
    assert near < between < far
    assert looks_like_the_star(pictures[2])


def test_it_is_the_picture_of_diffusers(stack: Stack) -> None:
    import torch
    from diffusers import StableDiffusionImg2ImgPipeline

    pipeline: Any = StableDiffusionImg2ImgPipeline.from_pretrained(
        ROOT / "models" / "miniature-sd", torch_dtype=torch.float32
    )
    theirs = pipeline(
        STAR,
        image=CIRCLE,
        strength=0.7,
        num_inference_steps=10,
        guidance_scale=3.0,
        generator=torch.Generator().manual_seed(7),
    ).images[0]
    options = image_to_image_options(strength=0.7, steps=10, guidance_scale=3.0)
    (ours,) = stack.draw(STAR, **options)
    assert share_of_differing_pixels(ours, theirs) <= MAX_DIFFERING_SHARE
    assert Image.open(io.BytesIO(ours)).info["parameters"] == (
        f"{STAR}\nSteps: 10, Sampler: DDIM, CFG scale: 3, Seed: 7, Size: 128x128, "
        "Model: miniature-sd, Denoising strength: 0.7, Version: latent-relay"
    )


def test_its_size_is_the_pictures_or_what_is_wished(stack: Stack) -> None:
    large = image_to_image_options(init_image=encoded(gradient(600, 300), "jpeg"), steps=2)
    sizes = [
        pixels(stack.draw("a ring", **large, **wish)[0]).shape[:2]
        for wish in ({}, {"height": 64}, {"height": 96, "width": 72})
    ]
    assert sizes == [(128, 256), (64, 128), (96, 72)]


def test_several_prompts_share_a_picture_or_have_their_own(stack: Stack) -> None:
    blue = circle(fill=BLUE)
    wish = image_to_image_options(seed=[1, 2], strength=0.1)
    shared = stack.draw("a ring", "a ring", **wish)
    wish["init_image"] = [encoded(CIRCLE), encoded(blue, "webp")]
    each = stack.draw("a ring", "a ring", **wish)
    assert max_difference(shared[0], each[0]) <= TOLERANCE
    assert [distance(shared[1], CIRCLE) < 8, distance(each[1], blue) < 8] == [True, True]


def test_http_takes_a_picture_too(stack: Stack) -> None:
    wish = {"prompt": [STAR], "init_image": encoded(CIRCLE), "seed": 7}
    with triton_http.InferenceServerClient(stack.http) as client:
        answer = client.infer(IMAGE_TO_IMAGE, tensors(triton_http, **wish))
    assert answer.as_numpy("image")[0] == stack.draw(STAR, **image_to_image_options())[0]


def test_all_four_stages_tell_their_time_under_one_request_id(stack: Stack) -> None:
    answer = stack.infer("a ring", **image_to_image_options(steps=4, request_id="from-a-picture"))
    for stage in IMAGE_TO_IMAGE_STAGES:
        queue_ms, compute_ms = answer.as_numpy(f"{stage}_ms")
        assert queue_ms >= 0
        assert compute_ms > 0
        event = f"stage={stage} event=response request_id=from-a-picture ms="
        assert wait_until(partial(log_contains, stack, "triton", event), 10), event


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"init_image": []}, "init_image: got 0 pictures, expected 1 to 16"),
        ({"init_image": b""}, "init_image: got 0 bytes of another kind at position 0"),
        ({"init_image": b"GIF89a"}, "init_image: got 6 bytes of another kind at position 0"),
        ({"init_image": bytes(16_000_001)}, "init_image: got 16000001 bytes at position 0"),
        ({"init_image": bomb(50_000, 50_000)}, "init_image: got a decompression bomb at position"),
        ({"init_image": bomb(8000, 8000)}, "init_image: got 8000x8000 pixels at position 0"),
        ({"init_image": encoded(CIRCLE)[:400]}, "init_image: got a damaged file at position 0"),
        ({"init_image": [encoded(CIRCLE)] * 2}, "init_moments: got 2 pictures, expected 1"),
        ({"height": 100}, "height: got 100, expected a multiple of 8 from 64 to 256"),
        ({"strength": 0.0}, "strength: got 0.0, expected more than 0, at most 1"),
        ({"strength": 1.5}, "strength: got 1.5, expected more than 0, at most 1"),
        ({"strength": 0.1, "steps": 9}, "strength: got 0.1, expected enough for 1 of 9 steps"),
        ({"prompt": [""]}, "prompt: got an empty prompt at position 0"),
    ],
)
def test_what_cannot_be_begun_at_is_refused(
    stack: Stack, options: dict[str, Any], message: str
) -> None:
    given = {"prompt": ["a red circle"], "init_image": encoded(CIRCLE), **options}
    with stack.client() as client, pytest.raises(InferenceServerException) as refusal:
        client.infer(IMAGE_TO_IMAGE, tensors(triton_grpc, **given))
    assert refusal.value.status() == "StatusCode.INVALID_ARGUMENT"
    assert message in refusal.value.message()


def test_without_a_picture_image_to_image_says_so(stack: Stack) -> None:
    with pytest.raises(InferenceServerException) as refusal:
        stack.infer("a red circle", model=IMAGE_TO_IMAGE)
    assert "init_image: got 0 pictures, expected 1 to 16" in refusal.value.message()


def test_a_bad_picture_harms_nobody_beside_it(stack: Stack) -> None:
    files = [encoded(CIRCLE), bomb(8000, 8000), encoded(CIRCLE)[:400], encoded(CIRCLE, "webp")]

    def draw(i: int) -> object:
        try:
            return len(
                stack.draw("a ring", **image_to_image_options(init_image=files[i % 4], steps=4))
            )
        except InferenceServerException as error:
            return error.status()

    with ThreadPoolExecutor(16) as pool:
        refused = "StatusCode.INVALID_ARGUMENT"
        assert list(pool.map(draw, range(16))) == [1, refused, refused, 1] * 4

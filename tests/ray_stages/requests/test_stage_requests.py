from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ray_stages.errors import InvalidRequest
from ray_stages.requests.schedulers import SCHEDULERS
from ray_stages.requests.stage_requests import (
    MAX_SEED,
    DecodeRequest,
    DenoiseRequest,
    EncodeImageRequest,
    EncodeTextRequest,
)
from ray_stages.settings import Settings
from tests.support.pictures import circle, encoded
from tests.support.request_tensors import CARD, embeds, floats, ints, latents, texts, with_moments

SETTINGS = Settings()
PNG = encoded(circle())
NAN = np.full((1, 77, 32), np.nan, np.float32)

REFUSED: list[tuple[Callable[..., Any], dict[str, Any], str]] = [
    (EncodeTextRequest.parse, {"prompt": texts()}, "prompt: got 0 prompts, expected 1 to 16"),
    (EncodeTextRequest.parse, {}, "prompt: got 0 prompts, expected 1 to 16"),
    (EncodeTextRequest.parse, {"prompt": texts("")}, "prompt: got an empty prompt at position 0"),
    (
        EncodeTextRequest.parse,
        {"prompt": texts("a", " \n")},
        "prompt: got an empty prompt at position 1",
    ),
    (
        EncodeTextRequest.parse,
        {"prompt": texts(b"\xff\xfe")},
        "prompt: got bytes that break at 0, .*UTF-8",
    ),
    (
        EncodeTextRequest.parse,
        {"prompt": texts("x" * 2001)},
        "prompt: got 2001 characters, .* 2000",
    ),
    (
        EncodeTextRequest.parse,
        {"prompt": texts(*"x" * 17)},
        "prompt: got 17 prompts, expected 1 to 16",
    ),
    (
        EncodeTextRequest.parse,
        {"prompt": texts("a"), "negative_prompt": texts("x" * 2001)},
        "negative_prompt: got 2001 characters",
    ),
    (DenoiseRequest.parse, {"steps": ints(4)}, "prompt_embeds: got none, expected a tensor"),
    (DecodeRequest.parse, {}, "latents: got none, expected a tensor"),
    (DenoiseRequest.parse, embeds(seed=ints(-1)), f"seed: got -1, .* {MAX_SEED}; leave it out"),
    (DenoiseRequest.parse, embeds(3, seed=ints(1, 2)), "seed: got 2 seeds, expected 1, or one"),
    (DenoiseRequest.parse, embeds(steps=ints(0)), "steps: got 0, expected 1 to 150"),
    (DenoiseRequest.parse, embeds(steps=ints(151)), "steps: got 151, expected 1 to 150"),
    (
        DenoiseRequest.parse,
        embeds(guidance_scale=floats(-1)),
        "guidance_scale: got -1.0, .*0 to 30",
    ),
    (DenoiseRequest.parse, embeds(guidance_scale=floats(31)), "guidance_scale: got 31.0"),
    (DenoiseRequest.parse, embeds(guidance_scale=floats(np.nan)), "guidance_scale: got nan"),
    (DenoiseRequest.parse, embeds(guidance_scale=floats(np.inf)), "guidance_scale: got inf"),
    (DenoiseRequest.parse, embeds(guidance_rescale=floats(1.5)), "guidance_rescale: got 1.5, .*1"),
    (
        DenoiseRequest.parse,
        embeds(guidance_start=floats(0.5), guidance_end=floats(0.25)),
        "guidance_end: got 0.25, expected 0.5 to 1",
    ),
    (DenoiseRequest.parse, embeds(dynamic_threshold=floats(np.nan)), "dynamic_threshold: got nan"),
    (DenoiseRequest.parse, embeds(priority=ints(0)), "priority: got 0, expected 1 to 9"),
    (DenoiseRequest.parse, embeds(preview_every=ints(0)), "preview_every: got 0"),
    (DenoiseRequest.parse, embeds(dump_latents_every=ints(-1)), "dump_latents_every: got -1"),
    (DenoiseRequest.parse, embeds(height=ints(100)), "height: got 100, expected a multiple of 8"),
    (DenoiseRequest.parse, embeds(width=ints(56)), "width: got 56, .* from 64 to 256"),
    (DenoiseRequest.parse, embeds(width=ints(264)), "width: got 264, .* from 64 to 256"),
    (DenoiseRequest.parse, embeds(height=ints(-64)), "height: got -64"),
    (
        DenoiseRequest.parse,
        embeds(scheduler=texts("magic")),
        "scheduler: got 'magic', .*ddim.*euler",
    ),
    (DenoiseRequest.parse, {"prompt_embeds": NAN}, "prompt_embeds: got a value that is not finite"),
    (DenoiseRequest.parse, embeds(0), "prompt_embeds: got 0 rows"),
    (
        DenoiseRequest.parse,
        {"prompt_embeds": np.zeros((1, 77, 31), np.float32)},
        r"prompt_embeds: got shape \[1, 77, 31\], expected \[n, 1 to 1024 tokens, 32\]",
    ),
    (
        DenoiseRequest.parse,
        {"prompt_embeds": np.zeros((1, 77, 32), np.float32)},
        "negative_prompt_embeds: got none, expected given at guidance_scale 3",
    ),
    (
        DenoiseRequest.parse,
        embeds(3, negative_prompt_embeds=np.zeros((2, 77, 32), np.float32)),
        r"negative_prompt_embeds: got shape \[2, 77, 32\], expected \[3, 77, 32\] or \[1, 77, 32\]",
    ),
    (EncodeImageRequest.parse, {}, "init_image: got 0 pictures, expected 1 to 16"),
    (EncodeImageRequest.parse, {"init_image": texts(*[b""] * 17)}, "init_image: got 17 pictures"),
    (
        EncodeImageRequest.parse,
        {"init_image": texts(PNG, b"GIF89a")},
        "init_image: got 6 bytes of another kind at position 1, expected a PNG, JPEG or WebP file",
    ),
    (
        EncodeImageRequest.parse,
        {"init_image": texts(PNG + bytes(16_000_000))},
        "init_image: got 160.* bytes at position 0, expected at most 16000000",
    ),
    (
        EncodeImageRequest.parse,
        {"init_image": texts(PNG), "width": ints(100)},
        "width: got 100, expected a multiple of 8 from 64 to 256",
    ),
    (DenoiseRequest.parse, embeds(strength=floats(0.5)), "init_moments: got none, .* strength"),
    (
        DenoiseRequest.parse,
        with_moments(strength=floats(0)),
        "strength: got 0.0, .* more than 0, at most",
    ),
    (
        DenoiseRequest.parse,
        with_moments(strength=floats(1.01)),
        "strength: got 1.01, expected more than",
    ),
    (
        DenoiseRequest.parse,
        with_moments(strength=floats(np.nan)),
        "strength: got nan, expected more than",
    ),
    (
        DenoiseRequest.parse,
        with_moments(strength=floats(0.09), steps=ints(11)),
        "strength: got 0.09, expected enough for 1 of 11 steps",
    ),
    (
        DenoiseRequest.parse,
        with_moments(2, prompts=3),
        "init_moments: got 2 pictures, .* each of 3",
    ),
    (DenoiseRequest.parse, with_moments(channels=4), "init_moments: got 4 channels, expected 8"),
    (
        DenoiseRequest.parse,
        with_moments(value=np.inf),
        "init_moments: got a value that is not finite",
    ),
    (DenoiseRequest.parse, with_moments(side=33), "height: got 264, .* from 64 to 256"),
    (
        DenoiseRequest.parse,
        with_moments(height=ints(64)),
        "init_moments: got 128x128 pixels, expected the 64x128 of height and width",
    ),
    (DecodeRequest.parse, latents(channels=3), "latents: got 3 channels, expected 4"),
    (DecodeRequest.parse, latents(side=33), "latents: got 264 pixels, expected 64 to 256"),
    (DecodeRequest.parse, latents(17), "latents: got 17 rows, expected 1 to 16"),
    (DecodeRequest.parse, latents(encoding=texts("gif")), "encoding: got 'gif', .*raw, base64"),
]


@pytest.mark.parametrize(("parse", "tensors", "message"), REFUSED)
def test_refusals_name_field_value_and_limit(
    parse: Callable[..., Any], tensors: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        parse(tensors, CARD, SETTINGS)
    assert re.match(message, str(refusal.value))
    assert refusal.value.code == "INVALID_ARG"


def test_missing_fields_get_the_models_defaults() -> None:
    request = DenoiseRequest.parse(embeds(), CARD, SETTINGS)
    assert (request.steps, request.guidance.scale, request.scheduler) == (20, 3.0, "ddim")
    assert (request.height, request.width) == (128, 128)
    assert EncodeTextRequest.parse({"prompt": texts("a")}, CARD, SETTINGS).negative_prompt == ""


def test_limits_are_inclusive() -> None:
    request = DenoiseRequest.parse(
        embeds(16, steps=ints(150), guidance_scale=floats(30), height=ints(64), width=ints(256)),
        CARD,
        SETTINGS,
    )
    assert (request.steps, request.height, request.width) == (150, 64, 256)
    assert len(request.seeds) == 16


def test_seeds_are_given_counted_up_or_random() -> None:
    def seeds(n: int, **given: Any) -> list[int]:
        return DenoiseRequest.parse(embeds(n, **given), CARD, SETTINGS).seeds

    assert seeds(3, seed=ints(5, 1, 1)) == [5, 1, 1]
    assert seeds(3, seed=ints(7)) == [7, 8, 9]
    assert seeds(2, seed=ints(MAX_SEED)) == [MAX_SEED, 0]
    assert seeds(1) != seeds(1)


def test_every_scheduler_is_accepted() -> None:
    for name in SCHEDULERS:
        assert DenoiseRequest.parse(embeds(scheduler=texts(name)), CARD, SETTINGS).scheduler == name


def test_guidance_at_one_needs_no_negative_prompt() -> None:
    tensors = {"prompt_embeds": np.zeros((1, 77, 32), np.float32), "guidance_scale": floats(1)}
    assert not DenoiseRequest.parse(tensors, CARD, SETTINGS).guidance.is_active(0, 20)


def test_init_images_may_be_resized() -> None:
    tensors = {"init_image": texts(PNG, PNG)}
    assert EncodeImageRequest.parse(tensors, CARD, SETTINGS) == EncodeImageRequest(
        [PNG, PNG], None, None
    )
    sized = EncodeImageRequest.parse({**tensors, "height": ints(64)}, CARD, SETTINGS)
    assert (sized.height, sized.width) == (64, None)


def test_an_init_image_sets_the_size() -> None:
    request = DenoiseRequest.parse(with_moments(side=12, prompts=3), CARD, SETTINGS)
    assert (request.height, request.width) == (96, 96)
    assert request.init
    assert request.init.strength == 0.8


@pytest.mark.parametrize(("strength", "steps"), [(0.7, 10), (0.29, 100), (0.1, 10), (1.0, 1)])
def test_strength_is_the_number_that_was_written(strength: float, steps: int) -> None:
    tensors = with_moments(strength=floats(strength), steps=ints(steps))
    init = DenoiseRequest.parse(tensors, CARD, SETTINGS).init
    assert init
    assert init.strength == strength


def test_empty_parameters_are_none() -> None:
    request = DecodeRequest.parse(latents(prompt=texts(), seed=ints()), CARD, SETTINGS)
    assert request.parameters == [{}]


def test_parameters_for_the_png_are_those_of_each_picture() -> None:
    request = DecodeRequest.parse(
        latents(
            2,
            prompt=texts("a", "b"),
            negative_prompt=texts("c"),
            seed=ints(1, 2),
            steps=ints(20),
            guidance_scale=floats(7.5),
            scheduler=texts("euler"),
            strength=floats(0.8),
        ),
        CARD,
        SETTINGS,
    )
    common = {"negative_prompt": "c", "steps": "20", "guidance_scale": "7.5", "scheduler": "euler"}
    common["strength"] = "0.8"
    assert request.parameters == [
        {"prompt": "a", "seed": "1", **common},
        {"prompt": "b", "seed": "2", **common},
    ]

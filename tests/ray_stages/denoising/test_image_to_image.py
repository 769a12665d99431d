"""Our pictures are those of `diffusers.StableDiffusionImg2ImgPipeline`, for the same seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionImg2ImgPipeline
from PIL import Image

from ray_stages.families.checkpoint import Checkpoint
from ray_stages.requests import schedulers
from ray_stages.requests.init_image import InitImage
from ray_stages.requests.stage_requests import DenoiseRequest, EncodeImageRequest
from ray_stages.stages.image_encoder import ImageEncoder
from tests.support.parity import FAMILY_WISHES, Relay, pipeline_of, reference
from tests.support.pictures import TOLERANCE, difference, encoded, gradient, pixels

IMAGE = gradient(100, 70)


def init_of(checkpoint: Checkpoint, strength: float) -> dict[str, Any]:
    """What the vae_encoder and the bridge of the unet make of the picture."""
    encoder = ImageEncoder(checkpoint)
    (moments,) = encoder.encode([encoder.read(EncodeImageRequest([encoded(IMAGE)]))])
    init = InitImage(moments, strength)
    height, width = init.size(checkpoint.card)
    return {"init": init, "height": height, "width": width}


def theirs_of(folder: Path, wish: dict[str, Any]) -> Image.Image:
    pipeline = pipeline_of(folder, wish["scheduler"], StableDiffusionImg2ImgPipeline)
    return reference(pipeline, wish, image=IMAGE, strength=wish["init"].strength)


@pytest.mark.parametrize("scheduler", sorted(schedulers.SCHEDULERS))
@pytest.mark.parametrize("family", sorted(FAMILY_WISHES))
def test_equals_the_pipeline_in_any_company(
    family: str,
    scheduler: str,
    load: Callable[[str], Checkpoint],
    checkpoint_folder: Callable[[str], Path],
) -> None:
    checkpoint = load(family)
    wish: dict[str, Any] = {
        **{"prompt": "a red circle", "seed": 7, "scheduler": scheduler},
        **FAMILY_WISHES[family],
        **init_of(checkpoint, 0.7),
    }
    company = {**wish, "prompt": "a star", "seed": 1, "steps": 3, **init_of(checkpoint, 1.0)}
    stranger = {**wish, "prompt": "a ring", "seed": 2, "init": None}
    ours = Relay(checkpoint).draw([company, wish, stranger])
    theirs = theirs_of(checkpoint_folder(family), wish)
    assert len(np.unique(pixels(theirs))) > 16  # a picture that could differ
    assert difference(ours[1], theirs) <= TOLERANCE
    assert difference(ours[0], theirs_of(checkpoint_folder(family), company)) <= TOLERANCE


@pytest.mark.parametrize("strength", [0.1, 0.29, 0.5, 1.0])
def test_any_strength_equals_the_pipeline(
    strength: float, load: Callable[[str], Checkpoint], checkpoint_folder: Callable[[str], Path]
) -> None:
    checkpoint = load("sd21")
    wish = {
        **{"prompt": "a red circle", "seed": 5, "scheduler": "euler_ancestral"},
        **{"steps": 10, "guidance_scale": 4.0},
        **init_of(checkpoint, strength),
    }
    (ours,) = Relay(checkpoint).draw([wish])
    assert difference(ours, theirs_of(checkpoint_folder("sd21"), wish)) <= TOLERANCE


def test_one_picture_is_for_all_prompts_or_there_is_one_for_each(
    load: Callable[[str], Checkpoint],
) -> None:
    checkpoint = load("sd15")
    relay = Relay(checkpoint)
    wish = {"prompt": "a star", "seed": 7, "steps": 4, "guidance_scale": 2.0}
    init = init_of(checkpoint, 0.5)
    one = init["init"].moments
    (alone,) = relay.requests([{**wish, **init}])
    both = replace(alone, seeds=[7, 8], prompt_embeds=np.repeat(alone.prompt_embeds, 2, axis=0))
    each_its_own = replace(both, init=InitImage(np.concatenate([one, 0 * one]), 0.5))

    def starts(request: DenoiseRequest) -> list[torch.Tensor]:
        denoiser = relay.engine.denoiser
        return [denoiser.start(request, i).latents for i in range(len(request.seeds))]

    (first,), (same, other), (still, zero) = map(starts, (alone, both, each_its_own))
    assert torch.equal(first, same)
    assert torch.equal(first, still)
    assert not torch.equal(first, other)
    assert not torch.equal(other, zero)

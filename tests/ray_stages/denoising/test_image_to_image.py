"""Pictures equal those of `diffusers.StableDiffusionImg2ImgPipeline` for the same seed."""

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
from tests.support.parity import (
    FAMILY_PARAMETERS,
    InProcessStages,
    draw_with_diffusers,
    load_pipeline,
)
from tests.support.pictures import TOLERANCE, encoded, gradient, max_difference, pixels

IMAGE = gradient(100, 70)


def init_of(checkpoint: Checkpoint, strength: float) -> dict[str, Any]:
    """Encodes IMAGE as the stage vae_encoder does; returns parameters of the picture."""
    encoder = ImageEncoder(checkpoint)
    (moments,) = encoder.encode([encoder.read(EncodeImageRequest([encoded(IMAGE)]))])
    init = InitImage(moments, strength)
    height, width = init.size(checkpoint.card)
    return {"init": init, "height": height, "width": width}


def expected_picture(folder: Path, parameters: dict[str, Any]) -> Image.Image:
    pipeline = load_pipeline(folder, parameters["scheduler"], StableDiffusionImg2ImgPipeline)
    return draw_with_diffusers(
        pipeline, parameters, image=IMAGE, strength=parameters["init"].strength
    )


@pytest.mark.parametrize("scheduler", sorted(schedulers.SCHEDULERS))
@pytest.mark.parametrize("family", sorted(FAMILY_PARAMETERS))
def test_equals_the_pipeline_in_any_batch(
    family: str,
    scheduler: str,
    load: Callable[[str], Checkpoint],
    checkpoint_folder: Callable[[str], Path],
) -> None:
    checkpoint = load(family)
    parameters: dict[str, Any] = {
        **{"prompt": "a red circle", "seed": 7, "scheduler": scheduler},
        **FAMILY_PARAMETERS[family],
        **init_of(checkpoint, 0.7),
    }
    company = {**parameters, "prompt": "a star", "seed": 1, "steps": 3, **init_of(checkpoint, 1.0)}
    stranger = {**parameters, "prompt": "a ring", "seed": 2, "init": None}
    ours = InProcessStages(checkpoint).draw([company, parameters, stranger])
    theirs = expected_picture(checkpoint_folder(family), parameters)
    assert len(np.unique(pixels(theirs))) > 16  # not a blank picture
    assert max_difference(ours[1], theirs) <= TOLERANCE
    assert (
        max_difference(ours[0], expected_picture(checkpoint_folder(family), company)) <= TOLERANCE
    )


@pytest.mark.parametrize("strength", [0.1, 0.29, 0.5, 1.0])
def test_any_strength_equals_the_pipeline(
    strength: float, load: Callable[[str], Checkpoint], checkpoint_folder: Callable[[str], Path]
) -> None:
    checkpoint = load("sd21")
    parameters = {
        **{"prompt": "a red circle", "seed": 5, "scheduler": "euler_ancestral"},
        **{"steps": 10, "guidance_scale": 4.0},
        **init_of(checkpoint, strength),
    }
    (ours,) = InProcessStages(checkpoint).draw([parameters])
    assert (
        max_difference(ours, expected_picture(checkpoint_folder("sd21"), parameters)) <= TOLERANCE
    )


def test_one_init_image_is_for_all_prompts_or_there_is_one_for_each(
    load: Callable[[str], Checkpoint],
) -> None:
    checkpoint = load("sd15")
    stages = InProcessStages(checkpoint)
    parameters = {"prompt": "a star", "seed": 7, "steps": 4, "guidance_scale": 2.0}
    init = init_of(checkpoint, 0.5)
    one = init["init"].moments
    (alone,) = stages.requests([{**parameters, **init}])
    both = replace(alone, seeds=[7, 8], prompt_embeds=np.repeat(alone.prompt_embeds, 2, axis=0))
    each_its_own = replace(both, init=InitImage(np.concatenate([one, 0 * one]), 0.5))

    def starts(request: DenoiseRequest) -> list[torch.Tensor]:
        denoiser = stages.engine.denoiser
        return [denoiser.start(request, i).latents for i in range(len(request.seeds))]

    (first,), (same, other), (still, zero) = map(starts, (alone, both, each_its_own))
    assert torch.equal(first, same)
    assert torch.equal(first, still)
    assert not torch.equal(first, other)
    assert not torch.equal(other, zero)

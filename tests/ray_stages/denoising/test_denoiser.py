"""Noise, rows, and errors of schedulers; test_parity.py covers the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from ray_stages.denoising.denoiser import Denoiser
from ray_stages.errors import InvalidRequest
from ray_stages.families.checkpoint import Checkpoint
from ray_stages.requests.stage_requests import DenoiseRequest, Guidance


def request(**given: Any) -> DenoiseRequest:
    embeds = np.ones((len(given.get("seeds", [7])), 77, 32), np.float32)
    parameters: dict[str, Any] = {
        "seeds": [7],
        "steps": 2,
        "guidance": Guidance(3.0),
        "height": 64,
        "width": 96,
        "scheduler": "ddim",
        **given,
    }
    return DenoiseRequest(embeds, 0 * embeds, **parameters)


def test_noise_depends_on_the_seed_alone(load: Callable[[str], Checkpoint]) -> None:
    denoiser = Denoiser(load("sd15"))
    noise = torch.randn((1, 4, 8, 12), generator=torch.Generator().manual_seed(7))
    assert torch.equal(denoiser.start(request(), 0).latents, noise)
    assert torch.equal(denoiser.start(request(seeds=[1, 7]), 1).latents, noise)


@pytest.mark.parametrize(("guidance_scale", "rows"), [(0.0, 1), (1.0, 1), (1.5, 2)])
def test_the_unconditional_row_is_skipped_without_guidance(
    guidance_scale: float, rows: int, load: Callable[[str], Checkpoint]
) -> None:
    picture = Denoiser(load("sd15")).start(request(guidance=Guidance(guidance_scale)), 0)
    assert picture.rows == rows
    assert bool((picture.embeds[-1] == 1).all())


def test_steps_that_a_scheduler_does_not_support_are_refused(
    load: Callable[[str], Checkpoint],
) -> None:
    denoiser = Denoiser(load("sd15"))
    with pytest.raises(InvalidRequest, match="steps: got 60, expected a number that scheduler lcm"):
        denoiser.start(request(scheduler="lcm", steps=60), 0)


def test_two_pictures_share_no_scheduler(load: Callable[[str], Checkpoint]) -> None:
    denoiser = Denoiser(load("sd15"))
    first, second = (denoiser.start(request(scheduler="pndm"), 0) for _ in range(2))
    assert first.scheduler is not second.scheduler

"""Any scheduler that a request may name, on any scheduler configuration that a checkpoint has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import diffusers
import numpy as np
import pytest
import torch

from ray_stages.denoising.denoiser import Denoiser
from ray_stages.errors import InvalidRequest, StageFailed
from ray_stages.families.checkpoint import Checkpoint
from ray_stages.requests import schedulers
from ray_stages.requests.stage_requests import DenoiseRequest, Guidance
from ray_stages.serving import warm_up

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
ZERO_SNR = {
    "rescale_betas_zero_snr": True,
    "prediction_type": "v_prediction",
    "timestep_spacing": "trailing",
}
# What checkpoints have as their own: class and options.
OWN: dict[str, tuple[str, dict[str, Any]]] = {
    "pndm": ("PNDMScheduler", {"skip_prk_steps": True}),
    "ddim": ("DDIMScheduler", {}),
    "ddim, zero SNR": ("DDIMScheduler", ZERO_SNR),
    "ddpm": ("DDPMScheduler", {}),
    "ddpm, learned variance": ("DDPMScheduler", {"variance_type": "learned_range"}),
    "euler": ("EulerDiscreteScheduler", {"timestep_spacing": "trailing"}),
    "euler, Karras": ("EulerDiscreteScheduler", {"use_karras_sigmas": True}),
    "euler, exponential": ("EulerDiscreteScheduler", {"use_exponential_sigmas": True}),
    "euler, beta": ("EulerDiscreteScheduler", {"use_beta_sigmas": True}),
    "euler, zero SNR": ("EulerDiscreteScheduler", ZERO_SNR),
    "dpm++ 2m, SDE": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    "dpm++ 2m, Karras": ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
    "dpm++ 2m, beta": ("DPMSolverMultistepScheduler", {"use_beta_sigmas": True}),
    "dpm++ 2m, zero SNR": ("DPMSolverMultistepScheduler", ZERO_SNR),
    "deis": ("DEISMultistepScheduler", {}),
    "unipc": ("UniPCMultistepScheduler", {}),
    "heun": ("HeunDiscreteScheduler", {}),
    "lms": ("LMSDiscreteScheduler", {}),
    "kdpm2": ("KDPM2DiscreteScheduler", {}),
    "singlestep": ("DPMSolverSinglestepScheduler", {}),
    "lcm": ("LCMScheduler", {}),
}


@pytest.fixture
def denoiser(load: Callable[[str], Checkpoint]) -> Denoiser:
    return Denoiser(load("sd15"))


def config_of(own: str) -> dict[str, Any]:
    name, options = OWN[own]
    config = dict(getattr(diffusers, name)(**BETAS, **options).config)
    del config["_use_default_values"]  # no file has it
    return {**config, "_class_name": name}


def request_of(scheduler: str, steps: int) -> DenoiseRequest:
    embeds = np.zeros((1, 77, 32), np.float32)
    return DenoiseRequest(embeds, None, [7], steps, Guidance(1), 64, 64, scheduler)


def final_latents(denoiser: Denoiser, scheduler: str, steps: int) -> torch.Tensor:
    """Steps a picture through with predictions that are noise: no UNet takes part."""
    picture = denoiser.start(request_of(scheduler, steps), 0)
    generator = torch.Generator().manual_seed(0)
    while not picture.done:
        denoiser.advance(picture, torch.randn(1, 4, 8, 8, generator=generator))
    return picture.latents


@pytest.mark.parametrize("own", OWN)
def test_every_named_scheduler_draws_on_every_configuration(denoiser: Denoiser, own: str) -> None:
    denoiser.scheduler_config = config_of(own)
    for asked in (*schedulers.SCHEDULERS, schedulers.name_of(OWN[own][0])):
        for steps in (1, 4, 20, 50):
            assert final_latents(denoiser, asked, steps).isfinite().all(), (asked, steps)


def test_a_configuration_that_does_not_fit_is_refused_by_name(denoiser: Denoiser) -> None:
    sigmas = {"use_karras_sigmas": True, "use_beta_sigmas": True}
    denoiser.scheduler_config = {**config_of("euler"), **sigmas}
    with pytest.raises(InvalidRequest, match="scheduler: got dpmpp_2m, expected one that the"):
        final_latents(denoiser, "dpmpp_2m", 4)


class NotFinite(diffusers.EulerDiscreteScheduler):  # type: ignore[misc]
    def step(self, output: torch.Tensor, *args: Any, **options: Any) -> Any:
        latents, *_ = super().step(output, *args, **options)
        return (latents * float("nan") if self.step_index == 3 else latents,)


def test_a_scheduler_that_gives_no_numbers_is_our_failure_and_never_ready(
    denoiser: Denoiser, load: Callable[[str], Checkpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diffusers, "EulerDiscreteScheduler", NotFinite)
    with pytest.raises(StageFailed, match="NotFinite gave values not finite at step 3 of 20"):
        final_latents(denoiser, "euler", 20)
    with pytest.raises(StageFailed, match="step 3 of 50"):
        warm_up.default_picture(denoiser, replace(load("sd15").card, scheduler="euler"))

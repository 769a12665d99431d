"""The estimate of the final picture is the one that diffusers' own schedulers make."""

from __future__ import annotations

import pytest
import torch

from ray_stages.denoising.noisy_latents import NoisyLatents
from ray_stages.requests import schedulers

CONFIG = {
    "_class_name": "DDIMScheduler",
    "num_train_timesteps": 1000,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
}
PREDICTION_TYPES = ("epsilon", "v_prediction")
WITH_ESTIMATE = ("ddim", "ddpm", "euler", "euler_ancestral", "lcm")


@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
@pytest.mark.parametrize("name", WITH_ESTIMATE)
def test_the_estimate_equals_the_schedulers(name: str, prediction_type: str) -> None:
    config = {**CONFIG, "prediction_type": prediction_type}
    scheduler = schedulers.create(name, {**config, "original_inference_steps": 50})
    scheduler.set_timesteps(10)
    latents = torch.randn(1, 4, 8, 8) * scheduler.init_noise_sigma
    for t in scheduler.timesteps[:4]:
        noisy = NoisyLatents(scheduler, latents, t)
        prediction = torch.randn(1, 4, 8, 8)
        scheduler.scale_model_input(latents, t)
        ours = noisy.original_from(prediction)
        answer = scheduler.step(prediction, t, latents)
        theirs = answer.denoised if name == "lcm" else answer.pred_original_sample
        if name == "lcm":  # LCM mixes its estimate with the sample
            assert torch.nn.functional.mse_loss(ours, theirs) < 0.05 * ours.square().mean()
        else:
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)
        latents = answer.prev_sample


@pytest.mark.parametrize("prediction_type", [*PREDICTION_TYPES, "sample"])
@pytest.mark.parametrize("name", sorted(schedulers.SCHEDULERS))
def test_a_perfect_prediction_gives_the_original_and_the_reverse(
    name: str, prediction_type: str
) -> None:
    config = {**CONFIG, "prediction_type": prediction_type}
    scheduler = schedulers.create(name, config)
    scheduler.set_timesteps(8)
    t = scheduler.timesteps[2]
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(2)
    picture, noise = torch.randn(1, 4, 8, 8), torch.randn(1, 4, 8, 8)
    latents = scheduler.add_noise(picture, noise, t[None])
    noisy = NoisyLatents(scheduler, latents, t)
    prediction = {
        "epsilon": noise,
        "sample": picture,
        "v_prediction": noisy._signal * noise - noisy._noise * picture,
    }[prediction_type]
    torch.testing.assert_close(noisy.original_from(prediction), picture, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(noisy.prediction_from(picture), prediction, rtol=1e-3, atol=1e-3)

from __future__ import annotations

import torch
from diffusers import DDIMScheduler

from ray_stages.denoising import guidance
from ray_stages.denoising.noisy_latents import NoisyLatents
from ray_stages.requests.stage_requests import Guidance


def noisy() -> NoisyLatents:
    scheduler = DDIMScheduler(clip_sample=False)
    scheduler.set_timesteps(10)
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    return NoisyLatents(scheduler, latents, scheduler.timesteps[3])


def rows() -> torch.Tensor:
    return torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))


def test_guidance_extrapolates_from_the_unconditional_row() -> None:
    prediction = rows()
    expected = prediction[:1] + 3 * (prediction[1:] - prediction[:1])
    torch.testing.assert_close(guidance.combine(prediction, Guidance(3.0), noisy()), expected)


def test_rescaled_guidance_has_the_deviation_of_the_conditional_row() -> None:
    prediction = rows()
    wild = guidance.combine(prediction, Guidance(9.0), noisy())
    tame = guidance.combine(prediction, Guidance(9.0, rescale=1.0), noisy())
    assert wild.std() > 2 * prediction[1:].std()
    torch.testing.assert_close(tame.std(), prediction[1:].std())


def test_the_threshold_limits_the_estimate_to_the_unguided_range() -> None:
    prediction, mix = rows(), noisy()
    plain = mix.original_from(prediction[1:])
    wild = mix.original_from(guidance.combine(prediction, Guidance(9.0), mix))
    tame = mix.original_from(guidance.combine(prediction, Guidance(9.0, threshold=0.99), mix))

    def reach(latents: torch.Tensor) -> torch.Tensor:
        return (latents - latents.mean(dim=(-2, -1), keepdim=True)).abs().amax(dim=(-2, -1))

    assert bool((reach(wild) > 1.5 * reach(plain)).all())
    assert bool((reach(tame) < 1.2 * reach(plain)).all())


def test_values_within_the_limit_do_not_change() -> None:
    estimate = torch.randn(1, 4, 8, 8)
    bounded = guidance.dynamic_threshold(0.5 * estimate, estimate, quantile=1.0)
    torch.testing.assert_close(bounded, 0.5 * estimate)


def test_guidance_is_active_in_its_interval_only() -> None:
    interval = Guidance(3.0, start=0.2, end=0.6)
    assert [interval.is_active(step, 10) for step in range(10)] == [False] * 2 + [True] * 4 + [
        False
    ] * 4
    assert not Guidance(1.0).is_active(0, 10)

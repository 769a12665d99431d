"""DeepCache: pictures do not depend on their batch, and the whole UNet is computed when due.

test_parity.py and test_runtimes.py cover it too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.configuration_utils import FrozenDict

from ray_stages.denoising.denoiser import Denoiser, DenoisingState
from ray_stages.families import networks, unet_levels
from ray_stages.families.checkpoint import Checkpoint
from ray_stages.requests.stage_requests import Guidance
from ray_stages.runtimes import eager
from ray_stages.runtimes.catalog import RUNTIME_MODULES
from ray_stages.runtimes.network import Network, Runtime, Tensors
from ray_stages.runtimes.target import Target
from tests.ray_stages.denoising.test_denoiser import request
from tests.ray_stages.denoising.test_image_to_image import init_of
from tests.support.parity import FAMILY_PARAMETERS, InProcessStages
from tests.support.pictures import TOLERANCE, max_difference


class Calls:
    """Records the opened networks, and the rows of each call."""

    def __init__(self) -> None:
        self.opened: list[Network] = []
        self.made: list[tuple[str, int]] = []

    def open_network(self, network: Network) -> Runtime:
        runtime = eager.open_as_loaded(network)
        self.opened.append(network)

        def compute(*inputs: torch.Tensor) -> Tensors:
            self.made.append((network.name, len(inputs[0])))
            return runtime(*inputs)

        return Runtime(runtime.name, runtime.precision, compute)

    @property
    def whole(self) -> list[int]:
        """The steps that computed the whole UNet."""
        return [step for step, (name, _) in enumerate(self.made) if name == "unet"]


def finish(denoiser: Denoiser, picture: DenoisingState) -> torch.Tensor:
    while not picture.done:
        denoiser.advance(picture, denoiser.predict([picture])[0])
    return picture.latents


def test_without_deep_cache_only_the_unet_is_opened(load: Callable[[str], Checkpoint]) -> None:
    calls = Calls()
    denoiser = Denoiser(load("sd15"), calls.open_network)
    picture = denoiser.start(request(steps=4), 0)
    finish(denoiser, picture)
    assert [(one.name, one.outputs) for one in calls.opened] == [("unet", ("prediction",))]
    assert calls.made == [("unet", 2)] * 4
    assert picture.deep is None


@pytest.mark.parametrize("odd", [False, True], ids=["usual", "odd"])
@pytest.mark.parametrize("family", sorted(FAMILY_PARAMETERS))
@pytest.mark.parametrize("kind", ["torch", "openvino"])
def test_fresh_features_give_the_unets_prediction(
    kind: str,
    family: str,
    odd: bool,
    load: Callable[[str], Checkpoint],
    target_for: Callable[[Checkpoint], Target],
) -> None:
    checkpoint = load(family)
    unet, target = checkpoint.unet(), target_for(checkpoint)
    plain = networks.unet(unet, checkpoint.card)
    whole, shallow = (
        RUNTIME_MODULES[kind].open_network(network, "float32", target)
        for network in (
            networks.unet(unet, checkpoint.card, with_deep=True),
            networks.unet_shallow(unet, checkpoint.card),
        )
    )
    inputs = plain.example(3, odd=odd)
    prediction, deep = whole(*inputs)
    torch.testing.assert_close(shallow(deep, *inputs)[0], prediction, rtol=0, atol=1e-5)
    with torch.inference_mode():
        expected = plain.module(*inputs)[0]
    torch.testing.assert_close(prediction, expected, rtol=0, atol=1e-5)


def test_a_split_unet_of_many_levels_equals_diffusers() -> None:
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        block_out_channels=(32, 32, 64, 64),
        cross_attention_dim=16,
        attention_head_dim=4,
        time_cond_proj_dim=8,
    ).eval()
    unet_levels.check_splittable(unet.config)
    sample, embeds = torch.randn(2, 4, 13, 18), torch.randn(2, 5, 16)
    times, cond = torch.tensor([801.0, 1.0]), torch.randn(2, 8)
    with torch.inference_mode():
        (expected,) = unet(sample, times, embeds, timestep_cond=cond, return_dict=False)
        inputs = sample, unet.time_proj(times), embeds, cond
        prediction, deep = unet_levels.Whole(unet)(*inputs)
        (again,) = unet_levels.Shallow(unet)(deep, *inputs)
    assert deep.shape == (2, unet.config.block_out_channels[1], 13, 18)
    assert torch.equal(prediction, expected)
    assert torch.equal(again, expected)


@pytest.mark.parametrize(
    ("every", "steps", "guidance", "whole"),
    [
        (2, 6, Guidance(3.0), [0, 2, 4]),
        (3, 7, Guidance(1.0), [0, 3, 6]),
        (20, 7, Guidance(3.0), [0]),
        (5, 10, Guidance(3.0, start=0.3, end=0.7), [0, 3, 5, 7]),  # its rows change at 3 and 7
    ],
)
def test_the_whole_unet_is_computed_only_when_due(
    every: int,
    steps: int,
    guidance: Guidance,
    whole: list[int],
    load: Callable[[str], Checkpoint],
) -> None:
    calls = Calls()
    denoiser = Denoiser(load("sd15"), calls.open_network, every)
    finish(denoiser, denoiser.start(request(steps=steps, guidance=guidance), 0))
    assert len(calls.made) == steps
    assert calls.whole == whole


def test_pictures_at_other_steps_are_in_the_other_call(load: Callable[[str], Checkpoint]) -> None:
    calls = Calls()
    denoiser = Denoiser(load("sd15"), calls.open_network, 2)
    early, late = (denoiser.start(request(steps=4), 0) for _ in range(2))
    single = denoiser.start(request(steps=4, guidance=Guidance(1.0)), 0)
    denoiser.advance(early, denoiser.predict([early])[0])
    calls.made.clear()
    predictions = denoiser.predict([late, early, single])
    assert sorted(calls.made) == [("unet", 3), ("unet_shallow", 2)]
    assert [len(one) for one in predictions] == [2, 2, 1]


def test_a_failed_call_changes_no_picture(load: Callable[[str], Checkpoint]) -> None:
    def fail(*inputs: torch.Tensor) -> Tensors:
        raise RuntimeError("no memory")

    denoiser = Denoiser(load("sd15"), deep_every=2)
    early, late = (denoiser.start(request(steps=4), 0) for _ in range(2))
    denoiser.advance(early, denoiser.predict([early])[0])
    assert denoiser.cache
    denoiser.cache.shallow = Runtime("torch", "float32", fail)
    with pytest.raises(RuntimeError, match="no memory"):
        denoiser.predict([late, early])
    assert late.deep is None


@pytest.mark.parametrize("family", sorted(FAMILY_PARAMETERS))
def test_image_to_image_does_not_depend_on_the_batch(
    family: str, load: Callable[[str], Checkpoint]
) -> None:
    checkpoint = load(family)
    parameters: dict[str, Any] = {
        **{"prompt": "a red circle", "seed": 7, "steps": 6, "guidance_scale": 3.0},
        **init_of(checkpoint, 0.7),
    }
    company = [{**parameters, "seed": 1, "steps": steps, "init": None} for steps in (3, 5)]
    stages = InProcessStages(checkpoint, max_rows=4, deep_every=3)
    assert (
        max_difference(stages.draw([*company, parameters])[2], stages.draw([parameters])[0])
        <= TOLERANCE
    )


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"class_embed_type": "timestep"}, "class_embed_type=timestep"),
        ({"down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"]}, "down_block_types="),
        ({"down_block_types": ["CrossAttnDownBlock2D"]}, "down_block_types="),
        ({"mid_block_type": None}, "mid_block_type=None"),
        ({"up_block_types": ["AttnUpBlock2D", "CrossAttnUpBlock2D"]}, "up_block_types="),
    ],
)
def test_a_unet_of_another_architecture_is_refused(
    change: dict[str, Any], named: str, load: Callable[[str], Checkpoint]
) -> None:
    config = FrozenDict({**load("sd15").unet().config, **change})
    with pytest.raises(ValueError, match=rf"UNET_DEEP_EVERY over 1 .* \({named}"):
        unet_levels.check_splittable(config)

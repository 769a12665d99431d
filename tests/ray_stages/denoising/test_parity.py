"""Pictures equal those of `diffusers.StableDiffusionPipeline`, whatever else is in the batch."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ray_stages.families.checkpoint import Checkpoint
from ray_stages.requests import schedulers
from ray_stages.settings import Settings
from tests.support.parity import (
    FAMILY_PARAMETERS,
    InProcessStages,
    draw_with_diffusers,
    load_pipeline,
)
from tests.support.pictures import TOLERANCE, max_difference, pixels


@pytest.mark.parametrize("scheduler", ["DDIMScheduler", "DDPMScheduler"])
def test_a_minimal_scheduler_config_is_completed_as_in_the_pipeline(
    scheduler: str, tmp_path: Path, checkpoint_folder: Callable[[str], Path]
) -> None:
    folder = shutil.copytree(checkpoint_folder("sd15"), tmp_path / "terse")
    config = {"_class_name": scheduler, "beta_schedule": "scaled_linear"}
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(config))
    index = json.loads((folder / "model_index.json").read_text())
    index["scheduler"] = ["diffusers", scheduler]
    (folder / "model_index.json").write_text(json.dumps(index))
    parameters = {"prompt": "a blue square", "seed": 11, **FAMILY_PARAMETERS["sd15"]}
    stages = InProcessStages(Checkpoint(Settings(model=str(folder), device="cpu")))
    theirs = draw_with_diffusers(load_pipeline(folder), parameters)
    assert max_difference(stages.draw([parameters])[0], theirs) <= TOLERANCE


def test_rescaled_guidance_equals_the_pipelines(
    load: Callable[[str], Checkpoint], checkpoint_folder: Callable[[str], Path]
) -> None:
    parameters = {"prompt": "a red circle", "seed": 7, **FAMILY_PARAMETERS["sd21"]}
    pipeline = load_pipeline(checkpoint_folder("sd21"))
    ours = InProcessStages(load("sd21")).draw(
        [{**parameters, "adjusted": {"rescale": 0.7}}, parameters]
    )
    theirs = [
        draw_with_diffusers(pipeline, parameters, guidance_rescale=rescale)
        for rescale in (0.7, 0.0)
    ]
    assert max_difference(theirs[0], theirs[1]) > TOLERANCE
    assert [max_difference(*pair) <= TOLERANCE for pair in zip(ours, theirs, strict=True)] == [
        True
    ] * 2


@pytest.mark.parametrize("scheduler", sorted(schedulers.SCHEDULERS))
@pytest.mark.parametrize("family", sorted(FAMILY_PARAMETERS))
def test_equals_the_pipeline_in_any_batch(
    family: str,
    scheduler: str,
    load: Callable[[str], Checkpoint],
    checkpoint_folder: Callable[[str], Path],
) -> None:
    parameters = {
        "prompt": "a red circle",
        "seed": 7,
        "scheduler": scheduler,
        **FAMILY_PARAMETERS[family],
    }
    company = [
        {"prompt": "a star", "seed": 1, "steps": 3, "guidance_scale": 3.0, "scheduler": "ddim"},
        {"prompt": "a ring", "seed": 2, "steps": 9, "guidance_scale": 1.0, "scheduler": "euler"},
        {"prompt": "a heart", "seed": 3, "steps": 4, "guidance_scale": 2.0, "height": 96},
    ]
    ours = InProcessStages(load(family)).draw([company[0], parameters, *company[1:]])[1]
    theirs = draw_with_diffusers(load_pipeline(checkpoint_folder(family), scheduler), parameters)
    assert len(np.unique(pixels(theirs))) > 16  # not a blank picture
    assert max_difference(ours, theirs) <= TOLERANCE


def test_the_checkpoints_own_scheduler_is_the_default(
    load: Callable[[str], Checkpoint], checkpoint_folder: Callable[[str], Path]
) -> None:
    for family, own in FAMILY_PARAMETERS.items():
        parameters = {"prompt": "a blue square", "seed": 11, **own}
        theirs = draw_with_diffusers(load_pipeline(checkpoint_folder(family)), parameters)
        assert (
            max_difference(InProcessStages(load(family)).draw([parameters])[0], theirs) <= TOLERANCE
        )


ADJUSTMENTS: list[dict[str, float]] = [
    {},
    {},
    {"start": 0.3, "end": 0.8},
    {"rescale": 0.7},
    {"threshold": 0.99, "end": 0.5},
]
PARAMETERS = st.fixed_dictionaries(
    {
        "prompt": st.text(min_size=1, max_size=20).filter(str.strip),
        "seed": st.integers(0, 2**63 - 1),
        "steps": st.integers(1, 5),
        "guidance_scale": st.sampled_from([0.0, 1.0, 2.0, 7.5]),
        "scheduler": st.sampled_from(sorted(schedulers.SCHEDULERS)),
        "height": st.sampled_from([64, 72]),
        "adjusted": st.sampled_from(ADJUSTMENTS),
    }
)


@pytest.mark.parametrize("deep_every", [1, 3])
@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(parameter_sets=st.lists(PARAMETERS, min_size=2, max_size=6))
def test_a_picture_does_not_depend_on_its_batch(
    parameter_sets: list[dict[str, Any]], deep_every: int, load: Callable[[str], Checkpoint]
) -> None:
    stages = InProcessStages(load("sd15"), max_rows=6, deep_every=deep_every)
    together = stages.draw(parameter_sets)
    for parameters, picture in zip(parameter_sets, together, strict=True):
        assert max_difference(stages.draw([parameters])[0], picture) <= TOLERANCE

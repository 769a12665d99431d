"""Our pictures are those of `diffusers.StableDiffusionPipeline`, whatever else is in the batch."""

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
from tests.support.parity import FAMILY_WISHES, Relay, pipeline_of, reference
from tests.support.pictures import TOLERANCE, difference, pixels


@pytest.mark.parametrize("scheduler", ["DDIMScheduler", "DDPMScheduler"])
def test_a_checkpoint_that_leaves_much_unsaid_is_read_as_the_pipeline_reads_it(
    scheduler: str, tmp_path: Path, checkpoint_folder: Callable[[str], Path]
) -> None:
    folder = shutil.copytree(checkpoint_folder("sd15"), tmp_path / "terse")
    config = {"_class_name": scheduler, "beta_schedule": "scaled_linear"}
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(config))
    index = json.loads((folder / "model_index.json").read_text())
    index["scheduler"] = ["diffusers", scheduler]
    (folder / "model_index.json").write_text(json.dumps(index))
    wish = {"prompt": "a blue square", "seed": 11, **FAMILY_WISHES["sd15"]}
    relay = Relay(Checkpoint(Settings(model=str(folder), device="cpu")))
    theirs = reference(pipeline_of(folder), wish)
    assert difference(relay.draw([wish])[0], theirs) <= TOLERANCE


def test_rescaled_guidance_is_the_pipelines(
    load: Callable[[str], Checkpoint], checkpoint_folder: Callable[[str], Path]
) -> None:
    wish = {"prompt": "a red circle", "seed": 7, **FAMILY_WISHES["sd21"]}
    pipeline = pipeline_of(checkpoint_folder("sd21"))
    ours = Relay(load("sd21")).draw([{**wish, "adjusted": {"rescale": 0.7}}, wish])
    theirs = [reference(pipeline, wish, guidance_rescale=rescale) for rescale in (0.7, 0.0)]
    assert difference(theirs[0], theirs[1]) > TOLERANCE
    assert [difference(*pair) <= TOLERANCE for pair in zip(ours, theirs, strict=True)] == [True] * 2


@pytest.mark.parametrize("scheduler", sorted(schedulers.SCHEDULERS))
@pytest.mark.parametrize("family", sorted(FAMILY_WISHES))
def test_equals_the_pipeline_in_any_company(
    family: str,
    scheduler: str,
    load: Callable[[str], Checkpoint],
    checkpoint_folder: Callable[[str], Path],
) -> None:
    wish = {"prompt": "a red circle", "seed": 7, "scheduler": scheduler, **FAMILY_WISHES[family]}
    company = [
        {"prompt": "a star", "seed": 1, "steps": 3, "guidance_scale": 3.0, "scheduler": "ddim"},
        {"prompt": "a ring", "seed": 2, "steps": 9, "guidance_scale": 1.0, "scheduler": "euler"},
        {"prompt": "a heart", "seed": 3, "steps": 4, "guidance_scale": 2.0, "height": 96},
    ]
    ours = Relay(load(family)).draw([company[0], wish, *company[1:]])[1]
    theirs = reference(pipeline_of(checkpoint_folder(family), scheduler), wish)
    assert len(np.unique(pixels(theirs))) > 16  # a picture that could differ
    assert difference(ours, theirs) <= TOLERANCE


def test_the_checkpoints_own_scheduler_is_the_default(
    load: Callable[[str], Checkpoint], checkpoint_folder: Callable[[str], Path]
) -> None:
    for family, wishes in FAMILY_WISHES.items():
        wish = {"prompt": "a blue square", "seed": 11, **wishes}
        theirs = reference(pipeline_of(checkpoint_folder(family)), wish)
        assert difference(Relay(load(family)).draw([wish])[0], theirs) <= TOLERANCE


ADJUSTMENTS: list[dict[str, float]] = [
    {},
    {},
    {"start": 0.3, "end": 0.8},
    {"rescale": 0.7},
    {"threshold": 0.99, "end": 0.5},
]
WISHES = st.fixed_dictionaries(
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
@given(wishes=st.lists(WISHES, min_size=2, max_size=6))
def test_a_picture_does_not_depend_on_its_company(
    wishes: list[dict[str, Any]], deep_every: int, load: Callable[[str], Checkpoint]
) -> None:
    relay = Relay(load("sd15"), max_rows=6, deep_every=deep_every)
    together = relay.draw(wishes)
    for wish, picture in zip(wishes, together, strict=True):
        assert difference(relay.draw([wish])[0], picture) <= TOLERANCE

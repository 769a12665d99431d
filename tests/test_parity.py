"""Our pictures are those of `diffusers.StableDiffusionPipeline`, whatever else is in the batch."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from diffusers import StableDiffusionPipeline
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from ray_stages import schedulers
from ray_stages.checkpoint import Checkpoint
from ray_stages.denoiser import Denoiser
from ray_stages.engine import Engine
from ray_stages.image_codec import ImageDecoder
from ray_stages.request import DecodeRequest, DenoiseRequest, Guidance, TextRequest
from ray_stages.settings import Settings
from ray_stages.text_encoder import TextEncoder

Pixels = npt.NDArray[np.uint8]
TOLERANCE = 2  # of 255
NEGATIVE = "a dull photo"


class Relay:
    """The three stages in one process, as the deployments call them."""

    def __init__(self, checkpoint: Checkpoint, max_rows: int = 32) -> None:
        self.card = checkpoint.card
        self.encoder = TextEncoder(checkpoint)
        self.engine = Engine(Denoiser(checkpoint), max_rows)
        self.decoder = ImageDecoder(checkpoint)

    def requests(self, wishes: list[dict[str, Any]]) -> list[DenoiseRequest]:
        texts = [TextRequest([wish["prompt"]], NEGATIVE) for wish in wishes]
        return [
            DenoiseRequest(
                prompt_embeds=embeds["prompt_embeds"],
                negative_prompt_embeds=embeds["negative_prompt_embeds"],
                seeds=[wish["seed"]],
                steps=wish["steps"],
                guidance=Guidance(wish["guidance_scale"], **wish.get("adjusted", {})),
                height=wish.get("height", self.card.height),
                width=wish.get("width", self.card.width),
                scheduler=wish.get("scheduler", self.card.scheduler),
                init=wish.get("init"),
            )
            for wish, embeds in zip(wishes, self.encoder.encode(texts), strict=True)
        ]

    def draw(self, wishes: list[dict[str, Any]]) -> list[Pixels]:
        """All at once, so that they share batches."""
        jobs = [self.engine.submit(request)[0] for request in self.requests(wishes)]
        latents = [job.latents.result(60) for job in jobs]
        files = self.decoder.decode([DecodeRequest(one[None], [{}]) for one in latents])
        return [np.asarray(Image.open(io.BytesIO(file))) for (file,) in files]


def pipeline_of(folder: Path, scheduler: str, kind: Any = StableDiffusionPipeline) -> Any:
    pipeline = kind.from_pretrained(folder, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    config = dict(pipeline.scheduler.config) | {"_class_name": type(pipeline.scheduler).__name__}
    pipeline.scheduler = schedulers.create(scheduler, config)
    return pipeline


def reference(pipeline: Any, wish: dict[str, Any], **options: Any) -> Pixels:
    image = pipeline(
        wish["prompt"],
        negative_prompt=NEGATIVE,
        num_inference_steps=wish["steps"],
        guidance_scale=wish["guidance_scale"],
        height=wish.get("height"),
        width=wish.get("width"),
        generator=torch.Generator("cpu").manual_seed(wish["seed"]),
        **options,
    ).images[0]
    return np.asarray(image)


def difference(a: Pixels, b: Pixels) -> int:
    assert a.shape == b.shape
    return int(np.abs(a.astype(int) - b.astype(int)).max())


FAMILY_WISHES = {
    "sd15": {"steps": 6, "guidance_scale": 7.5},
    "sd21": {"steps": 6, "guidance_scale": 7.5},
    "turbo": {"steps": 2, "guidance_scale": 0.0},
}


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
    pipeline = StableDiffusionPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    relay = Relay(Checkpoint(Settings(model=str(folder), device="cpu")))
    assert difference(relay.draw([wish])[0], reference(pipeline, wish)) <= TOLERANCE


def test_rescaled_guidance_is_the_pipelines(
    load: Callable[[str], Checkpoint], checkpoint_folder: Callable[[str], Path]
) -> None:
    wish = {"prompt": "a red circle", "seed": 7, **FAMILY_WISHES["sd21"]}
    pipeline = StableDiffusionPipeline.from_pretrained(checkpoint_folder("sd21"))
    pipeline.set_progress_bar_config(disable=True)
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
    assert len(np.unique(theirs)) > 16  # a picture that could differ
    assert difference(ours, theirs) <= TOLERANCE


def test_the_checkpoints_own_scheduler_is_the_default(
    load: Callable[[str], Checkpoint], checkpoint_folder: Callable[[str], Path]
) -> None:
    for family, wishes in FAMILY_WISHES.items():
        wish = {"prompt": "a blue square", "seed": 11, **wishes}
        pipeline = StableDiffusionPipeline.from_pretrained(checkpoint_folder(family))
        pipeline.set_progress_bar_config(disable=True)
        assert (
            difference(Relay(load(family)).draw([wish])[0], reference(pipeline, wish)) <= TOLERANCE
        )


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


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(wishes=st.lists(WISHES, min_size=2, max_size=6))
def test_a_picture_does_not_depend_on_its_company(
    wishes: list[dict[str, Any]], load: Callable[[str], Checkpoint]
) -> None:
    relay = Relay(load("sd15"), max_rows=6)
    together = relay.draw(wishes)
    for wish, picture in zip(wishes, together, strict=True):
        assert difference(relay.draw([wish])[0], picture) <= TOLERANCE

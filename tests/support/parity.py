"""Draws the same picture with our stages and with a pipeline of diffusers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from ray_stages.denoising.denoiser import Denoiser
from ray_stages.denoising.engine import Engine
from ray_stages.families.checkpoint import Checkpoint
from ray_stages.requests import schedulers
from ray_stages.requests.stage_requests import (
    DecodeRequest,
    DenoiseRequest,
    EncodeTextRequest,
    Guidance,
)
from ray_stages.stages.image_decoder import ImageDecoder
from ray_stages.stages.text_encoder import TextEncoder

NEGATIVE = "a dull photo"
FAMILY_PARAMETERS: dict[str, dict[str, Any]] = {
    "sd15": {"steps": 6, "guidance_scale": 7.5},
    "sd21": {"steps": 6, "guidance_scale": 7.5},
    "turbo": {"steps": 2, "guidance_scale": 0.0},
}


class InProcessStages:
    """The three stages in one process, called as the deployments call them.

    Parameters of a picture are those of `DenoiseRequest`, with `prompt`, `seed`, `guidance_scale`
    and `adjusted`: further parameters of guidance.
    """

    def __init__(self, checkpoint: Checkpoint, max_rows: int = 32, deep_every: int = 1) -> None:
        self.card = checkpoint.card
        self.encoder = TextEncoder(checkpoint)
        self.engine = Engine(Denoiser(checkpoint, deep_every=deep_every), max_rows)
        self.decoder = ImageDecoder(checkpoint)

    def requests(self, parameter_sets: list[dict[str, Any]]) -> list[DenoiseRequest]:
        texts = [
            EncodeTextRequest([parameters["prompt"]], NEGATIVE) for parameters in parameter_sets
        ]
        return [
            DenoiseRequest(
                prompt_embeds=embeds["prompt_embeds"],
                negative_prompt_embeds=embeds["negative_prompt_embeds"],
                seeds=[parameters["seed"]],
                steps=parameters["steps"],
                guidance=Guidance(parameters["guidance_scale"], **parameters.get("adjusted", {})),
                height=parameters.get("height", self.card.height),
                width=parameters.get("width", self.card.width),
                scheduler=parameters.get("scheduler", self.card.scheduler),
                init=parameters.get("init"),
            )
            for parameters, embeds in zip(parameter_sets, self.encoder.encode(texts), strict=True)
        ]

    def draw(self, parameter_sets: list[dict[str, Any]]) -> list[bytes]:
        """Draws all pictures at once, so that they share batches; returns PNG files."""
        jobs = [self.engine.submit(request)[0] for request in self.requests(parameter_sets)]
        latents = [job.latents.result(60) for job in jobs]
        files = self.decoder.decode([DecodeRequest(one[None], [{}]) for one in latents])
        return [file for (file,) in files]


def load_pipeline(folder: Path, scheduler: str = "", kind: Any = StableDiffusionPipeline) -> Any:
    """Loads a pipeline of diffusers; scheduler: a name of SCHEDULERS, or the checkpoint's own."""
    pipeline = kind.from_pretrained(folder, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    if scheduler:
        own = type(pipeline.scheduler).__name__
        config = {**pipeline.scheduler.config, "_class_name": own}
        pipeline.scheduler = schedulers.create(scheduler, config)
    return pipeline


def draw_with_diffusers(pipeline: Any, parameters: dict[str, Any], **options: Any) -> Image.Image:
    drawn: Image.Image = pipeline(
        parameters["prompt"],
        negative_prompt=NEGATIVE,
        num_inference_steps=parameters["steps"],
        guidance_scale=parameters["guidance_scale"],
        generator=torch.Generator("cpu").manual_seed(parameters["seed"]),
        **options,
    ).images[0]
    return drawn

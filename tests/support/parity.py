"""The same wish, drawn by our stages and by a pipeline of diffusers."""

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
FAMILY_WISHES: dict[str, dict[str, Any]] = {
    "sd15": {"steps": 6, "guidance_scale": 7.5},
    "sd21": {"steps": 6, "guidance_scale": 7.5},
    "turbo": {"steps": 2, "guidance_scale": 0.0},
}


class Relay:
    """The three stages in one process, as the deployments call them."""

    def __init__(self, checkpoint: Checkpoint, max_rows: int = 32, deep_every: int = 1) -> None:
        self.card = checkpoint.card
        self.encoder = TextEncoder(checkpoint)
        self.engine = Engine(Denoiser(checkpoint, deep_every=deep_every), max_rows)
        self.decoder = ImageDecoder(checkpoint)

    def requests(self, wishes: list[dict[str, Any]]) -> list[DenoiseRequest]:
        texts = [EncodeTextRequest([wish["prompt"]], NEGATIVE) for wish in wishes]
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

    def draw(self, wishes: list[dict[str, Any]]) -> list[bytes]:
        """All at once, so that they share batches."""
        jobs = [self.engine.submit(request)[0] for request in self.requests(wishes)]
        latents = [job.latents.result(60) for job in jobs]
        files = self.decoder.decode([DecodeRequest(one[None], [{}]) for one in latents])
        return [file for (file,) in files]


def pipeline_of(folder: Path, scheduler: str = "", kind: Any = StableDiffusionPipeline) -> Any:
    """scheduler: one of ours, else the checkpoint's own."""
    pipeline = kind.from_pretrained(folder, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    if scheduler:
        own = type(pipeline.scheduler).__name__
        config = {**pipeline.scheduler.config, "_class_name": own}
        pipeline.scheduler = schedulers.create(scheduler, config)
    return pipeline


def reference(pipeline: Any, wish: dict[str, Any], **options: Any) -> Image.Image:
    drawn: Image.Image = pipeline(
        wish["prompt"],
        negative_prompt=NEGATIVE,
        num_inference_steps=wish["steps"],
        guidance_scale=wish["guidance_scale"],
        generator=torch.Generator("cpu").manual_seed(wish["seed"]),
        **options,
    ).images[0]
    return drawn

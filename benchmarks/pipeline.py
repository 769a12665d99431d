"""What the peers run: diffusers' own StableDiffusionPipeline, and a clock on its three models."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.workload import Wish
from ray_stages.settings import Settings

if TYPE_CHECKING:
    from PIL.Image import Image

TIMES_HEADER = "X-Times"


@dataclass
class Times:
    """When a picture arrived, when each model began, when all ended; of `time.monotonic`.

    returned: when the batch it was in was done, where that is later than its own end.
    """

    arrived: float = 0.0
    began: float = 0.0
    first_step: float = 0.0
    decoding: float = 0.0
    ended: float = 0.0
    returned: float = 0.0

    @property
    def spans(self) -> dict[str, float]:
        return {
            "queue": self.began - self.arrived + max(0.0, self.returned - self.ended),
            "text_encoder": self.first_step - self.began,
            "unet": self.decoding - self.first_step,
            "vae_decoder": self.ended - self.decoding,
        }


class Pipeline:
    """Draws wishes of equal steps in one call, since the pipeline takes one number of steps."""

    def __init__(self, settings: Settings) -> None:
        import torch
        from diffusers import StableDiffusionPipeline

        from ray_stages.checkpoint import Checkpoint

        torch.set_num_threads(settings.resources("unet").threads)
        checkpoint = Checkpoint(settings)
        self.guidance_scale = checkpoint.card.guidance_scale
        self.size = {"height": checkpoint.card.height, "width": checkpoint.card.width}
        self.device = checkpoint.device
        self.pipeline: Any = StableDiffusionPipeline.from_pretrained(
            settings.model,
            torch_dtype=checkpoint.dtype,
            use_safetensors=True,
            variant=settings.model_variant or None,
        ).to(self.device)
        self.pipeline.set_progress_bar_config(disable=True)
        self.times = Times()
        self.pipeline.unet.register_forward_pre_hook(lambda *_: self._mark("first_step"))
        self.pipeline.vae.decoder.register_forward_pre_hook(lambda *_: self._mark("decoding"))

    def draw(self, wishes: Sequence[Wish]) -> tuple[list[Image], Times]:
        import torch

        (steps,) = {wish.steps for wish in wishes}
        self.times = Times(began=time.monotonic())
        result = self.pipeline(
            [wish.prompt for wish in wishes],
            num_inference_steps=steps,
            guidance_scale=self.guidance_scale,
            generator=[torch.Generator("cpu").manual_seed(wish.seed) for wish in wishes],
            **self.size,
        )
        self.times.ended = time.monotonic()
        return result.images, self.times

    def _mark(self, moment: str) -> None:
        """The first call of each; what is queued on a GPU is done by then."""
        if not getattr(self.times, moment):
            self._synchronize()
            setattr(self.times, moment, time.monotonic())

    def _synchronize(self) -> None:
        import torch

        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

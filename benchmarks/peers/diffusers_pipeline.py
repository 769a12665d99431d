"""What the peers run: diffusers' StableDiffusionPipeline, with times for its three models."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from benchmarks.load.requests import GenerationRequest
from ray_stages.settings import Settings

if TYPE_CHECKING:
    from PIL.Image import Image

    from ray_stages.families.checkpoint import Checkpoint

TIMES_HEADER = "X-Times"
MAX_BATCH = 16  # requests; with guidance, 32 rows
PREPARED_BATCHES = (1, 2, 4, 8, 16)
TimedPicture = tuple["Image", "Times"]


@dataclass(frozen=True)
class Times:
    """When a picture arrived, when each model began, and when all ended, by `time.monotonic`.

    returned: when its whole batch was done, where that is later than its own end.
    """

    arrived: float = 0.0
    began: float = 0.0
    first_step: float = 0.0
    decoding: float = 0.0
    ended: float = 0.0
    returned: float = 0.0

    def with_arrival(self, arrived: float) -> Times:
        return replace(self, arrived=arrived)

    @property
    def spans(self) -> dict[str, float]:
        """Seconds by model, and in the queue."""
        return {
            "queue": self.began - self.arrived + max(0.0, self.returned - self.ended),
            "text_encoder": self.first_step - self.began,
            "unet": self.decoding - self.first_step,
            "vae_decoder": self.ended - self.decoding,
        }


class DiffusersPipeline:
    """Draws batches. A call takes one number of steps, so only equal requests share one.

    fast: UNet and VAE compute with the runtime that our stages choose; otherwise with PyTorch, the
    usual way.
    """

    def __init__(self, settings: Settings, *, fast: bool = False) -> None:
        import torch
        from diffusers import StableDiffusionPipeline

        from ray_stages.families.checkpoint import Checkpoint

        torch.set_num_threads(settings.resources("unet").threads)
        checkpoint = Checkpoint(settings)
        self.guidance_scale = checkpoint.card.guidance_scale
        self.size = {"height": checkpoint.card.height, "width": checkpoint.card.width}
        self.device = checkpoint.device
        self.pipeline: Any = StableDiffusionPipeline.from_pretrained(
            settings.model,
            use_safetensors=True,
            variant=settings.model_variant or None,
        ).to(self.device, checkpoint.dtype)
        self.pipeline.set_progress_bar_config(disable=True)
        self.marks: dict[str, float] = {}
        self.pipeline.unet.register_forward_pre_hook(lambda *_: self._mark("first_step"))
        self.pipeline.vae.decoder.register_forward_pre_hook(lambda *_: self._mark("decoding"))
        if fast:
            self._use_our_runtime(settings, checkpoint)

    def _use_our_runtime(self, settings: Settings, checkpoint: Checkpoint) -> None:
        from ray_stages.families import networks
        from ray_stages.serving.open_network import opener

        threads, card = settings.resources("unet").threads, checkpoint.card
        unet, vae = self.pipeline.unet, self.pipeline.vae
        whole, decoder = networks.unet(unet, card), networks.vae_decoder(vae, card)
        predict = opener(checkpoint, "unet", threads)(whole)
        decode = opener(checkpoint, "vae_decoder", threads)(decoder)

        for pictures in PREPARED_BATCHES:
            predict.prepare(*whole.example(2 * pictures))
            decode.prepare(*decoder.example(pictures))

        def forward(sample: Any, t: Any, encoder_hidden_states: Any, **_: Any) -> Any:
            time_embeds = unet.time_proj(t.float().expand(len(sample)))
            return predict(sample, time_embeds, encoder_hidden_states)

        def decoded(latents: Any, **_: Any) -> Any:
            self._mark("decoding")
            return decode(latents)

        unet.forward, vae.decode = forward, decoded

    def draw(self, requests: Sequence[GenerationRequest]) -> list[TimedPicture]:
        """Draws requests with the same number of steps in one call."""
        import torch

        (steps,) = {request.steps for request in requests}
        self.marks = {"began": time.monotonic()}
        result = self.pipeline(
            [request.prompt for request in requests],
            num_inference_steps=steps,
            guidance_scale=self.guidance_scale,
            generator=[torch.Generator("cpu").manual_seed(request.seed) for request in requests],
            **self.size,
        )
        times = Times(**self.marks, ended=time.monotonic())
        return [(image, times) for image in result.images]

    def draw_mixed(self, requests: Sequence[GenerationRequest]) -> list[TimedPicture]:
        """Calls the pipeline once for each number of steps, fewest first; returns all together."""
        by_steps: dict[int, list[int]] = defaultdict(list)
        for i, request in enumerate(requests):
            by_steps[request.steps].append(i)
        drawn: dict[int, TimedPicture] = {}
        for _, members in sorted(by_steps.items()):
            drawn |= zip(members, self.draw([requests[i] for i in members]), strict=True)
        returned = time.monotonic()
        pairs = (drawn[i] for i in range(len(requests)))
        return [(image, replace(times, returned=returned)) for image, times in pairs]

    def _mark(self, moment: str) -> None:
        """Notes the time of a moment's first call, once a GPU has finished its queued work."""
        if moment not in self.marks:
            self._synchronize()
            self.marks[moment] = time.monotonic()

    def _synchronize(self) -> None:
        import torch

        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

"""The Serve app: each stage a deployment of its own, a long-lived Ray actor a replica.

Only replicas import torch and the stages: the launcher's child and Serve's controller, which import
this module too, start seconds sooner without.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import ray
from ray import serve
from ray.serve.schema import LoggingConfig

from ray_stages.fields import Array
from ray_stages.model_card import ModelCard
from ray_stages.request import (
    DecodeRequest,
    DenoiseRequest,
    Guidance,
    StageResult,
    TextRequest,
    Ticket,
)
from ray_stages.settings import STAGES, Settings

if TYPE_CHECKING:
    from ray_stages.denoiser import Denoiser
    from ray_stages.engine import Job
    from ray_stages.image_codec import ImageDecoder
    from ray_stages.latents_dump import LatentsDump

log = logging.getLogger("ray.serve")
T = TypeVar("T")

# Of one GPU, where a stage shares it with the others and settings do not say otherwise.
GPU_SHARES = {"text_encoder": 0.1, "unet": 0.6, "vae_decoder": 0.3}
MAX_BATCH = 32


class Stage:
    """What the deployments share: set-up, the model card, the log lines."""

    name: str

    def __init__(self, settings: Settings) -> None:
        import torch

        from ray_stages.checkpoint import Checkpoint
        from ray_stages.loopback import keep_to_loopback

        if not settings.ray_address:
            keep_to_loopback()
        torch.set_num_threads(settings.resources(self.name).threads)
        self.settings = settings
        self.checkpoint = Checkpoint(settings)

    def card(self) -> ModelCard:
        return self.checkpoint.card

    def set_up(self, load: Callable[[], T], warm_up: Callable[[T], None]) -> T:
        """Loads and warms up before the replica counts as ready, and says how long each took."""
        begin = time.monotonic()
        stage = load()
        loaded = time.monotonic()
        warm_up(stage)
        self.log(
            "set_up",
            **self.checkpoint.facts(),
            threads=self.settings.resources(self.name).threads,
            load_s=f"{loaded - begin:.2f}",
            warm_up_s=f"{time.monotonic() - loaded:.2f}",
        )
        return stage

    def result(
        self,
        ticket: Ticket,
        outputs: dict[str, Array],
        times: tuple[float, float, float],
        final: bool = True,
    ) -> StageResult:
        """times: when the request arrived, when its computing began, when it ended."""
        arrived, began, ended = times
        result = StageResult(outputs, 1000 * (began - arrived), 1000 * (ended - began))
        if not final:
            return result
        self.log(
            "computed",
            request_id=ticket.id,
            shapes=",".join(f"{name}:{'x'.join(map(str, t.shape))}" for name, t in outputs.items()),
            queue_ms=f"{result.queue_ms:.1f}",
            compute_ms=f"{result.compute_ms:.1f}",
        )
        return result

    def log(self, event: str, **facts: object) -> None:
        line = " ".join(f"{key}={value}" for key, value in facts.items())
        log.info("event=%s stage=%s %s", event, self.name, line)


@serve.deployment(name="text_encoder")
class TextEncoding(Stage):
    name = "text_encoder"

    def __init__(self, settings: Settings) -> None:
        from ray_stages.text_encoder import TextEncoder

        super().__init__(settings)
        self.encoder = self.set_up(
            lambda: TextEncoder(self.checkpoint, settings.text_encoder_cache_mb * 1024**2),
            lambda encoder: encoder.warm_up(),
        )

    async def __call__(self, ticket: Ticket, request: TextRequest) -> StageResult:
        arrived = time.monotonic()
        outputs, began, ended = await self.encode(request)
        return self.result(ticket, outputs, (arrived, began, ended))

    @serve.batch(max_batch_size=MAX_BATCH, batch_wait_timeout_s=0)
    async def encode(self, requests: list[TextRequest]) -> list[tuple[Any, float, float]]:
        began = time.monotonic()
        outputs = await asyncio.to_thread(self.encoder.encode, requests)
        ended = time.monotonic()
        return [(output, began, ended) for output in outputs]


@serve.deployment(name="unet")
class Denoising(Stage):
    name = "unet"

    def __init__(self, settings: Settings) -> None:
        from ray_stages.denoiser import Denoiser
        from ray_stages.engine import Engine

        super().__init__(settings)
        denoiser = self.set_up(lambda: Denoiser(self.checkpoint), self._warm_up)
        self.engine = Engine(
            denoiser, self._row_limit(denoiser), settings.unet_max_queue, settings.aging_seconds
        )
        self.dump = self._latents_dump()

    def _warm_up(self, denoiser: Denoiser) -> None:
        card = self.card()
        embeds = np.zeros((1, 77, card.embed_dim), np.float32)
        size = (card.height, card.width)
        request = DenoiseRequest(
            embeds, embeds, [0], card.steps, Guidance(2), *size, card.scheduler
        )
        picture = denoiser.start(request, 0)
        denoiser.advance(picture, denoiser.predict([picture])[0])

    def _row_limit(self, denoiser: Denoiser) -> int:
        if self.settings.unet_max_rows:
            return self.settings.unet_max_rows
        from ray_stages import row_limit

        card = self.card()
        limit = row_limit.measure(lambda rows: denoiser.compute(rows, card.height, card.width))
        self.log("row_limit", rows=limit)
        return limit

    def _latents_dump(self) -> LatentsDump | None:
        if not self.settings.latents_dir:
            return None
        from ray_stages.latents_dump import LatentsDump

        max_bytes = self.settings.latents_max_mb * 1024**2
        return LatentsDump(Path(self.settings.latents_dir), max_bytes)

    def check_health(self) -> None:
        if not self.engine.alive:
            raise RuntimeError("the denoising loop has ended")

    async def __call__(self, ticket: Ticket, request: DenoiseRequest) -> StageResult:
        request = replace(request, preview_every=0)
        return [result async for result in self.stream(ticket, request)][-1]

    async def stream(self, ticket: Ticket, request: DenoiseRequest) -> AsyncIterator[StageResult]:
        """The estimate of the final latents at each preview, and at last those themselves."""
        from ray_stages.previews import Previews

        arrived = time.monotonic()
        previews = Previews()
        jobs = await asyncio.to_thread(self.engine.submit, request, ticket.deadline, previews.watch)
        async for step, latents in previews.until_done(jobs):
            final = step == jobs[0].picture.steps
            outputs = _outputs(request, jobs, step, latents)
            times = arrived, min(job.started for job in jobs), time.monotonic()
            yield self.result(ticket, outputs, times, final)
        if self.dump and request.dump_latents_every:
            dumped, every = outputs["intermediate_latents"], request.dump_latents_every
            by_step = {every * (i + 1): dumped[:, i] for i in range(dumped.shape[1])}
            self.dump.write(ticket.id, by_step)


def _outputs(
    request: DenoiseRequest, jobs: list[Job], step: int, latents: Array
) -> dict[str, Array]:
    steps = jobs[0].picture.steps
    dumped = [np.stack(job.picture.dumped) for job in jobs if job.picture.dumped and step == steps]
    none = np.zeros((len(jobs), 0, *latents.shape[1:]), np.float32)
    return {
        "latents": latents,
        "intermediate_latents": np.stack(dumped) if dumped else none,
        "seed": np.array(request.seeds, np.int64),
        "steps": np.array([request.steps], np.int32),
        "guidance_scale": np.array([request.guidance.scale], np.float32),
        "scheduler": np.array([request.scheduler.encode()], np.object_),
        "step": np.array([step], np.int32),
        "step_count": np.array([steps], np.int32),
        "is_final": np.array([step == steps]),
    }


@serve.deployment(name="vae_decoder")
class Decoding(Stage):
    name = "vae_decoder"

    def __init__(self, settings: Settings) -> None:
        from ray_stages.image_codec import ImageDecoder

        super().__init__(settings)
        self.decoder = self.set_up(lambda: ImageDecoder(self.checkpoint), self._warm_up)

    def _warm_up(self, decoder: ImageDecoder) -> None:
        card = self.card()
        height, width = card.height // card.vae_scale_factor, card.width // card.vae_scale_factor
        latents = np.zeros((1, card.latent_channels, height, width), np.float32)
        decoder.decode([DecodeRequest(latents, [{}])])

    async def __call__(self, ticket: Ticket, request: DecodeRequest) -> StageResult:
        arrived = time.monotonic()
        files, began, ended = await self.decode(request)
        outputs: dict[str, Array] = {
            "image": np.array(files if request.encoding == "raw" else [], np.object_),
            "image_base64": np.array([base64.b64encode(file) for file in files], np.object_),
        }
        return self.result(ticket, outputs, (arrived, began, ended))

    @serve.batch(max_batch_size=MAX_BATCH, batch_wait_timeout_s=0)
    async def decode(self, requests: list[DecodeRequest]) -> list[tuple[Any, float, float]]:
        began = time.monotonic()
        files = await asyncio.to_thread(self.decoder.decode, requests)
        ended = time.monotonic()
        return [(pictures, began, ended) for pictures in files]


DEPLOYMENTS: dict[str, Any] = {
    "text_encoder": TextEncoding,
    "unet": Denoising,
    "vae_decoder": Decoding,
}


def application(stage: str, settings: Settings) -> Any:
    """One Serve application a stage, so that each starts, scales and is upgraded by itself."""
    resources = settings.resources(stage)
    gpus = resources.gpus
    if gpus < 0:
        on_gpu = settings.device != "cpu" and ray.cluster_resources().get("GPU", 0) > 0
        gpus = GPU_SHARES[stage] if on_gpu else 0
    options = {
        "num_replicas": resources.replicas,
        # Roomy on purpose: the bridge counts what is in flight, the stage bounds its own batch.
        "max_ongoing_requests": 2 * settings.max_in_flight,
        "ray_actor_options": {"num_cpus": resources.cpus, "num_gpus": gpus},
        "health_check_period_s": 2,
        "graceful_shutdown_timeout_s": settings.drain_seconds,
        "logging_config": LoggingConfig(log_level=settings.log_level, enable_access_log=False),
    }
    return DEPLOYMENTS[stage].options(**options).bind(settings)


def deploy(settings: Settings) -> None:
    """Lets all stages load side by side. No HTTP proxy: Triton is the front door."""
    serve.start(proxy_location="Disabled", logging_config=LoggingConfig(log_level="WARNING"))
    targets = [
        serve.RunTarget(application(stage, settings), name=stage, route_prefix=None)
        for stage in STAGES
    ]
    serve.run_many(targets, wait_for_applications_running=False)

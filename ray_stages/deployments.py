"""The Serve app: each stage a deployment of its own, a long-lived Ray actor a replica.

Only replicas import torch and the stages: the launcher's child and Serve's controller, which import
this module too, start seconds sooner without.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import ray
from ray import serve
from ray.serve.schema import LoggingConfig

from ray_stages.model_card import ModelCard
from ray_stages.request import (
    Array,
    DecodeRequest,
    DenoiseRequest,
    EncodeRequest,
    StageResult,
    TextRequest,
)
from ray_stages.settings import STAGES, Settings

if TYPE_CHECKING:
    from ray_stages.denoiser import Denoiser
    from ray_stages.image_codec import ImageDecoder

log = logging.getLogger("ray.serve")
T = TypeVar("T")

# Of one GPU, where a stage shares it with the others and settings do not say otherwise.
GPU_SHARES = {"text_encoder": 0.1, "unet": 0.6, "vae_decoder": 0.2, "vae_encoder": 0.1}
MAX_BATCH = 32
READERS = 4  # each may hold a decoded picture of MAX_IMAGE_PIXELS several times


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
        self, request_id: str, outputs: dict[str, Array], times: tuple[float, float, float]
    ) -> StageResult:
        """times: when the request arrived, when its computing began, when it ended."""
        arrived, began, ended = times
        result = StageResult(outputs, 1000 * (began - arrived), 1000 * (ended - began))
        self.log(
            "computed",
            request_id=request_id,
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
            lambda: TextEncoder(self.checkpoint),
            lambda encoder: encoder.warm_up(),
        )

    async def __call__(self, request_id: str, request: TextRequest) -> StageResult:
        arrived = time.monotonic()
        outputs, began, ended = await self.encode(request)
        return self.result(request_id, outputs, (arrived, began, ended))

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
        self.engine = Engine(denoiser, settings.unet_max_rows)

    def _warm_up(self, denoiser: Denoiser) -> None:
        card = self.card()
        embeds = np.zeros((1, 77, card.embed_dim), np.float32)
        size = (card.height, card.width)
        request = DenoiseRequest(embeds, embeds, [0], card.steps, 2.0, *size, card.scheduler)
        picture = denoiser.start(request, 0)
        denoiser.advance(picture, denoiser.predict([picture])[0])

    def check_health(self) -> None:
        if not self.engine.alive:
            raise RuntimeError("the denoising loop has ended")

    async def __call__(self, request_id: str, request: DenoiseRequest) -> StageResult:
        """Jobs of a call that is cancelled, or one of whose pictures failed, leave the loop."""
        arrived = time.monotonic()
        jobs = await asyncio.to_thread(self.engine.submit, request)
        try:
            latents = await asyncio.gather(*(asyncio.wrap_future(job.latents) for job in jobs))
        except BaseException:
            for job in jobs:
                job.latents.cancel()
            raise
        outputs: dict[str, Array] = {
            "latents": np.stack(latents),
            "seed": np.array(request.seeds, np.int64),
            "steps": np.array([request.steps], np.int32),
            "guidance_scale": np.array([request.guidance_scale], np.float32),
            "scheduler": np.array([request.scheduler.encode()], np.object_),
        }
        if request.init:
            outputs["strength"] = np.array([request.init.strength], np.float32)
        began, ended = min(job.started for job in jobs), max(job.finished for job in jobs)
        return self.result(request_id, outputs, (arrived, began, ended))


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

    async def __call__(self, request_id: str, request: DecodeRequest) -> StageResult:
        arrived = time.monotonic()
        files, began, ended = await self.decode(request)
        outputs: dict[str, Array] = {
            "image": np.array(files if request.encoding == "raw" else [], np.object_),
            "image_base64": np.array([base64.b64encode(file) for file in files], np.object_),
        }
        return self.result(request_id, outputs, (arrived, began, ended))

    @serve.batch(max_batch_size=MAX_BATCH, batch_wait_timeout_s=0)
    async def decode(self, requests: list[DecodeRequest]) -> list[tuple[Any, float, float]]:
        began = time.monotonic()
        files = await asyncio.to_thread(self.decoder.decode, requests)
        ended = time.monotonic()
        return [(pictures, began, ended) for pictures in files]


@serve.deployment(name="vae_encoder")
class Encoding(Stage):
    name = "vae_encoder"

    def __init__(self, settings: Settings) -> None:
        from ray_stages.image_encoder import ImageEncoder

        super().__init__(settings)
        self.encoder = self.set_up(
            lambda: ImageEncoder(self.checkpoint),
            lambda encoder: encoder.warm_up(),
        )
        self.readers = ThreadPoolExecutor(READERS, thread_name_prefix="reader")

    async def __call__(self, request_id: str, request: EncodeRequest) -> StageResult:
        """Reads before it batches: a broken file or a large one holds up nobody else's."""
        arrived = time.monotonic()
        loop = asyncio.get_running_loop()
        pixels, reading = await loop.run_in_executor(self.readers, self._read, request)
        moments, began, ended = await self.encode(pixels)
        height, width = pixels.shape[-2:]
        outputs: dict[str, Array] = {
            "init_moments": moments,
            "height": np.array([height], np.int32),
            "width": np.array([width], np.int32),
        }
        return self.result(request_id, outputs, (arrived, began - reading, ended))

    def _read(self, request: EncodeRequest) -> tuple[Array, float]:
        """Its pixels, and the seconds it took."""
        began = time.monotonic()
        return self.encoder.read(request), time.monotonic() - began

    @serve.batch(max_batch_size=MAX_BATCH, batch_wait_timeout_s=0)
    async def encode(self, requests: list[Array]) -> list[tuple[Array, float, float]]:
        began = time.monotonic()
        moments = await asyncio.to_thread(self.encoder.encode, requests)
        ended = time.monotonic()
        return [(one, began, ended) for one in moments]


DEPLOYMENTS: dict[str, Any] = {
    "text_encoder": TextEncoding,
    "unet": Denoising,
    "vae_decoder": Decoding,
    "vae_encoder": Encoding,
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

"""The stages as Serve deployments: each replica is a long-lived Ray actor.

Heavy imports are inside the constructors; see `replica.py`.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from ray import serve

from ray_stages.errors import RelayError
from ray_stages.requests.fields import Array
from ray_stages.requests.stage_requests import (
    DecodeRequest,
    DenoiseRequest,
    EncodeImageRequest,
    EncodeTextRequest,
    RequestContext,
    StageResult,
)
from ray_stages.runtimes.memory import compute_each
from ray_stages.serving.replica import StageReplica
from ray_stages.settings import Settings

if TYPE_CHECKING:
    from ray_stages.denoising.denoiser import Denoiser
    from ray_stages.denoising.engine import Job
    from ray_stages.serving.latents_dump import LatentsDump
    from ray_stages.stages.image_decoder import ImageDecoder

MAX_BATCH = 32
WARM_UP_BATCH_SIZES = (1, 2, 3, 4)  # the most frequent ones
READER_THREADS = 4  # each may hold several copies of a picture of MAX_IMAGE_PIXELS


@serve.deployment(name="text_encoder")
class TextEncoderDeployment(StageReplica):
    """Prompts to embeddings; concurrent requests share a batch."""

    name = "text_encoder"

    def __init__(self, settings: Settings) -> None:
        from ray_stages.stages.text_encoder import TextEncoder

        super().__init__(settings)
        self.encoder = self.set_up(
            lambda: TextEncoder(
                self.checkpoint, self.open_network, settings.text_encoder.cache_mb * 1024**2
            ),
            lambda encoder: encoder.warm_up(),
        )

    async def __call__(self, context: RequestContext, request: EncodeTextRequest) -> StageResult:
        arrived = time.monotonic()
        outputs, began, ended = await self.encode(request)
        if isinstance(outputs, RelayError):
            raise outputs
        return self.result(context, outputs, (arrived, began, ended))

    @serve.batch(max_batch_size=MAX_BATCH, batch_wait_timeout_s=0)
    async def encode(self, requests: list[EncodeTextRequest]) -> list[tuple[Any, float, float]]:
        """Returns outputs or an error, and when computing began and ended, for each request."""
        began = time.monotonic()
        outputs = await self.torch.run(lambda: compute_each(self.encoder.encode, requests))
        ended = time.monotonic()
        return [(output, began, ended) for output in outputs]


@serve.deployment(name="unet")
class UNetDeployment(StageReplica):
    """Embeddings to latents, by the step-batching engine."""

    name = "unet"

    def __init__(self, settings: Settings) -> None:
        from ray_stages.denoising.denoiser import Denoiser
        from ray_stages.denoising.engine import Engine
        from ray_stages.serving import warm_up

        super().__init__(settings)
        denoiser = self.set_up(
            lambda: Denoiser(self.checkpoint, self.open_network, settings.unet.deep_every),
            lambda denoiser: warm_up.default_picture(denoiser, self.card()),
        )
        rows = self.torch.submit(lambda: self._row_limit(denoiser)).result()
        self.torch.submit(lambda: warm_up.prepare(denoiser, self.card(), rows)).result()
        limits = rows, settings.unet.max_queue, settings.aging_seconds
        self.engine = Engine(denoiser, *limits, self.torch)
        self.dump = self._latents_dump()

    def _row_limit(self, denoiser: Denoiser) -> int:
        if self.settings.unet.max_rows:
            return self.settings.unet.max_rows
        from ray_stages.serving import warm_up

        limit = warm_up.row_limit(denoiser, self.card())
        self.log("row_limit", rows=limit)
        return limit

    def _latents_dump(self) -> LatentsDump | None:
        if not self.settings.latents_dir:
            return None
        from ray_stages.serving.latents_dump import LatentsDump

        max_bytes = self.settings.latents_max_mb * 1024**2
        return LatentsDump(self.settings.latents_dir, max_bytes)

    def check_health(self) -> None:
        """Serve calls this periodically, and replaces the replica after errors."""
        if not self.engine.alive:
            raise RuntimeError("the denoising loop has ended")

    async def __call__(self, context: RequestContext, request: DenoiseRequest) -> StageResult:
        request = replace(request, preview_every=0)
        return [result async for result in self.stream(context, request)][-1]

    async def stream(
        self, context: RequestContext, request: DenoiseRequest
    ) -> AsyncIterator[StageResult]:
        """Yields the estimate of the final latents at each preview, then the final latents."""
        from ray_stages.serving.previews import PreviewQueue

        arrived = time.monotonic()
        previews = PreviewQueue()
        jobs = self.engine.submit(request, context.deadline, previews.put)
        async for step, latents in previews.until_done(jobs):
            final = step == jobs[0].picture.steps
            outputs = _denoising_outputs(request, jobs, step, latents)
            times = arrived, min(job.started for job in jobs), time.monotonic()
            yield self.result(context, outputs, times, final)
        if self.dump and request.dump_latents_every:
            dumped, every = outputs["intermediate_latents"], request.dump_latents_every
            by_step = {every * (i + 1): dumped[:, i] for i in range(dumped.shape[1])}
            self.dump.write(context.id, by_step)


def _denoising_outputs(
    request: DenoiseRequest, jobs: list[Job], step: int, latents: Array
) -> dict[str, Array]:
    """Returns the output tensors of the model `unet`; latents: float32 [n, channels, h, w]."""
    steps = jobs[0].picture.steps
    dumped = [np.stack(job.picture.dumped) for job in jobs if job.picture.dumped and step == steps]
    none = np.zeros((len(jobs), 0, *latents.shape[1:]), np.float32)
    outputs: dict[str, Array] = {
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
    if request.init:
        outputs["strength"] = np.array([request.init.strength], np.float32)
    return outputs


@serve.deployment(name="vae_decoder")
class VAEDecoderDeployment(StageReplica):
    """Latents to PNG files; concurrent requests share a batch."""

    name = "vae_decoder"

    def __init__(self, settings: Settings) -> None:
        from ray_stages.stages.image_decoder import ImageDecoder

        super().__init__(settings)
        self.decoder = self.set_up(
            lambda: ImageDecoder(self.checkpoint, self.open_network), self._warm_up
        )

    def _warm_up(self, decoder: ImageDecoder) -> None:
        card = self.card()
        height, width = card.height // card.vae_scale_factor, card.width // card.vae_scale_factor
        for pictures in WARM_UP_BATCH_SIZES:
            decoder.prepare(pictures, height, width)

    async def __call__(self, context: RequestContext, request: DecodeRequest) -> StageResult:
        arrived = time.monotonic()
        files, began, ended = await self.decode(request)
        if isinstance(files, RelayError):
            raise files
        outputs: dict[str, Array] = {
            "image": np.array(files if request.encoding == "raw" else [], np.object_),
            "image_base64": np.array([base64.b64encode(file) for file in files], np.object_),
        }
        return self.result(context, outputs, (arrived, began, ended))

    @serve.batch(max_batch_size=MAX_BATCH, batch_wait_timeout_s=0)
    async def decode(self, requests: list[DecodeRequest]) -> list[tuple[Any, float, float]]:
        """Returns files or an error, and when computing began and ended, for each request."""
        began = time.monotonic()
        files = await self.torch.run(lambda: compute_each(self.decoder.decode, requests))
        ended = time.monotonic()
        return [(pictures, began, ended) for pictures in files]


@serve.deployment(name="vae_encoder")
class VAEEncoderDeployment(StageReplica):
    """Picture files to moments of latents; concurrent requests share a batch."""

    name = "vae_encoder"

    def __init__(self, settings: Settings) -> None:
        from ray_stages.stages.image_encoder import ImageEncoder

        super().__init__(settings)
        self.encoder = self.set_up(
            lambda: ImageEncoder(self.checkpoint, self.open_network),
            lambda encoder: encoder.warm_up(),
        )
        self.readers = ThreadPoolExecutor(READER_THREADS, thread_name_prefix="reader")

    async def __call__(self, context: RequestContext, request: EncodeImageRequest) -> StageResult:
        """Reads the files before it batches, so that a broken or large one delays no others."""
        arrived = time.monotonic()
        loop = asyncio.get_running_loop()
        pixels, read_seconds = await loop.run_in_executor(self.readers, self._read, request)
        moments, began, ended = await self.encode(pixels)
        if isinstance(moments, RelayError):
            raise moments
        _, height, width, _ = pixels.shape
        outputs: dict[str, Array] = {
            "init_moments": moments,
            "height": np.array([height], np.int32),
            "width": np.array([width], np.int32),
        }
        return self.result(context, outputs, (arrived, began - read_seconds, ended))

    def _read(self, request: EncodeImageRequest) -> tuple[Array, float]:
        """Returns the pixels (uint8 [n, height, width, 3]), and how many seconds it took."""
        began = time.monotonic()
        return self.encoder.read(request), time.monotonic() - began

    @serve.batch(max_batch_size=MAX_BATCH, batch_wait_timeout_s=0)
    async def encode(self, requests: list[Array]) -> list[tuple[Any, float, float]]:
        """Returns moments or an error, and when computing began and ended, for each request."""
        began = time.monotonic()
        moments = await self.torch.run(lambda: compute_each(self.encoder.encode, requests))
        ended = time.monotonic()
        return [(one, began, ended) for one in moments]

"""Peers in this process: they compare ways of batching on one device, without any server.

Two run diffusers' pipeline, one request at a time or a batch of requests, as Ray Serve would. The
third runs our three stages, as their deployments do.
"""

from __future__ import annotations

import asyncio
import gc
import time
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import torch

from benchmarks.common.png import to_png
from benchmarks.load.loops import GenerationFailed, GenerationResult
from benchmarks.load.requests import GenerationRequest
from benchmarks.peers.diffusers_pipeline import MAX_BATCH, DiffusersPipeline
from benchmarks.peers.peer import Peer
from ray_stages.denoising import row_limit
from ray_stages.denoising.denoiser import Denoiser
from ray_stages.denoising.engine import Engine
from ray_stages.families.checkpoint import Checkpoint
from ray_stages.requests.stage_requests import (
    DecodeRequest,
    DenoiseRequest,
    EncodeTextRequest,
    Guidance,
)
from ray_stages.stages.image_decoder import ImageDecoder
from ray_stages.stages.text_encoder import TextEncoder

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batcher(Generic[Item, Result]):
    """Calls `function` in a thread with all items that came while it was busy."""

    def __init__(self, function: Callable[[list[Item]], list[Result]], max_batch: int) -> None:
        self.function, self.max_batch = function, max_batch
        self.waiting: asyncio.Queue[tuple[Item, asyncio.Future[Result]]] = asyncio.Queue()
        self.task = asyncio.create_task(self._run())

    async def __call__(self, item: Item) -> Result:
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self.waiting.put_nowait((item, answer))
        return await answer

    async def _run(self) -> None:
        while True:
            batch = [await self.waiting.get()]
            while len(batch) < self.max_batch and not self.waiting.empty():
                batch.append(self.waiting.get_nowait())
            try:
                answers = await asyncio.to_thread(self.function, [item for item, _ in batch])
            except Exception as error:
                for _, future in batch:
                    future.set_exception(GenerationFailed(repr(error)))
                continue
            for (_, future), answer in zip(batch, answers, strict=True):
                future.set_result(answer)


class InProcess(Peer):
    """A peer that computes in this process."""

    in_our_process = True

    async def start(self) -> None:
        gc.collect()  # the previous peer's hooks make cycles, which keep it in the device's memory
        torch.cuda.empty_cache()
        await asyncio.to_thread(self.load)

    @abstractmethod
    def load(self) -> None:
        """Loads the models. Runs in a thread."""

    def cpu_seconds(self) -> float:
        return time.process_time()


class RequestBatches(InProcess):
    """diffusers' pipeline with request-level batching."""

    key = "serve_batch"
    label = "diffusers, requests batched"
    max_batch = MAX_BATCH

    def load(self) -> None:
        self.pipeline = DiffusersPipeline(self.settings)

    async def start(self) -> None:
        await super().start()
        self.batcher = Batcher(self.pipeline.draw_mixed, self.max_batch)

    async def stop(self) -> None:
        self.batcher.task.cancel()

    async def draw(self, request: GenerationRequest) -> GenerationResult:
        arrived = time.monotonic()
        image, times = await self.batcher(request)
        times = times.with_arrival(arrived)
        return GenerationResult(
            await asyncio.to_thread(to_png, image), times.first_step, times.spans
        )


class OneAtATime(RequestBatches):
    """diffusers' pipeline with one request at a time."""

    key = "serve"
    label = "diffusers, one at a time"
    max_batch = 1


class Stages(InProcess):
    """Our three stages with step-level batching."""

    key = "relay"
    label = "our stages"

    def load(self) -> None:
        checkpoint = Checkpoint(self.settings)
        self.card = card = checkpoint.card
        torch.set_num_threads(self.settings.resources("unet").threads)
        self.encoder, self.decoder = TextEncoder(checkpoint), ImageDecoder(checkpoint)
        denoiser = Denoiser(checkpoint)
        rows = self.settings.unet.max_rows or row_limit.measure(
            lambda rows: denoiser.compute(rows, card.height, card.width)
        )
        self.engine = Engine(denoiser, rows)

    async def start(self) -> None:
        await super().start()
        self.encode = Batcher(_timed(self.encoder.encode), MAX_BATCH)
        self.decode = Batcher(_timed(self.decoder.decode), MAX_BATCH)

    async def stop(self) -> None:
        self.encode.task.cancel()
        self.decode.task.cancel()
        self.engine.close()

    async def draw(self, request: GenerationRequest) -> GenerationResult:
        arrived = time.monotonic()
        embeds, encoding, encoded = await self.encode(EncodeTextRequest([request.prompt], ""))
        asked = time.monotonic()
        (job,) = self.engine.submit(self._request(request, embeds))
        latents = await asyncio.wrap_future(job.latents)
        denoised = time.monotonic()
        (png,), decoding, decoded = await self.decode(DecodeRequest(latents[None], [{}]))
        spans = {
            "text_encoder_queue": encoding - arrived,
            "text_encoder": encoded - encoding,
            "unet_queue": job.started - asked,
            "unet": denoised - job.started,
            "vae_decoder_queue": decoding - denoised,
            "vae_decoder": decoded - decoding,
        }
        return GenerationResult(png, job.started, spans)

    def _request(self, request: GenerationRequest, embeds: dict[str, Any]) -> DenoiseRequest:
        return DenoiseRequest(
            **embeds,
            seeds=[request.seed],
            steps=request.steps,
            guidance=Guidance(self.card.guidance_scale),
            height=self.card.height,
            width=self.card.width,
            scheduler=self.card.scheduler,
        )


def _timed(function: Callable[[list[Item]], list[Result]]) -> Callable[[list[Item]], list[Any]]:
    """Wraps `function`: each answer comes with the times at which its batch began and ended."""

    def timed(items: list[Item]) -> list[tuple[Result, float, float]]:
        begin = time.monotonic()
        answers = function(items)
        end = time.monotonic()
        return [(answer, begin, end) for answer in answers]

    return timed

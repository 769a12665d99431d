"""Peers in this process, to compare ways of batching on one device with nothing around them.

One picture at a time and batches of requests with diffusers' pipeline, as Ray Serve would have
them; and our three stages, as their deployments call them.
"""

from __future__ import annotations

import asyncio
import gc
import time
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import torch

from benchmarks.loads.clients import Answer, DrawFailed
from benchmarks.loads.workload import Wish
from benchmarks.peers.peer import Peer
from benchmarks.peers.pipeline import MAX_BATCH, Pipeline
from benchmarks.png import to_png
from ray_stages.denoising import row_limit
from ray_stages.denoising.denoiser import Denoiser
from ray_stages.denoising.engine import Engine
from ray_stages.families.checkpoint import Checkpoint
from ray_stages.requests.stage_requests import DecodeRequest, DenoiseRequest, Guidance, TextRequest
from ray_stages.stages.image_decoder import ImageDecoder
from ray_stages.stages.text_encoder import TextEncoder

A = TypeVar("A")
B = TypeVar("B")


class Batcher(Generic[A, B]):
    """Calls `function`, in a thread, with all that came while it was busy."""

    def __init__(self, function: Callable[[list[A]], list[B]], max_batch: int) -> None:
        self.function, self.max_batch = function, max_batch
        self.waiting: asyncio.Queue[tuple[A, asyncio.Future[B]]] = asyncio.Queue()
        self.task = asyncio.create_task(self._run())

    async def __call__(self, item: A) -> B:
        answer: asyncio.Future[B] = asyncio.get_running_loop().create_future()
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
                    future.set_exception(DrawFailed(repr(error)))
                continue
            for (_, future), answer in zip(batch, answers, strict=True):
                future.set_result(answer)


class InProcess(Peer):
    in_our_process = True

    async def start(self) -> None:
        gc.collect()  # hooks make circles, and the peer before lies on the device until then
        torch.cuda.empty_cache()
        await asyncio.to_thread(self.load)

    @abstractmethod
    def load(self) -> None: ...

    def cpu_seconds(self) -> float:
        return time.process_time()


class RequestBatches(InProcess):
    key = "serve_batch"
    label = "diffusers, requests batched"
    max_batch = MAX_BATCH

    def load(self) -> None:
        self.pipeline = Pipeline(self.settings)

    async def start(self) -> None:
        await super().start()
        self.batcher = Batcher(self.pipeline.draw_mixed, self.max_batch)

    async def stop(self) -> None:
        self.batcher.task.cancel()

    async def draw(self, wish: Wish) -> Answer:
        arrived = time.monotonic()
        image, times = await self.batcher(wish)
        times = times.arriving(arrived)
        return Answer(await asyncio.to_thread(to_png, image), times.first_step, times.spans)


class OneAtATime(RequestBatches):
    key = "serve"
    label = "diffusers, one at a time"
    max_batch = 1


class Stages(InProcess):
    key = "relay"
    label = "our stages"

    def load(self) -> None:
        checkpoint = Checkpoint(self.settings)
        self.card = card = checkpoint.card
        torch.set_num_threads(self.settings.resources("unet").threads)
        self.encoder, self.decoder = TextEncoder(checkpoint), ImageDecoder(checkpoint)
        denoiser = Denoiser(checkpoint)
        rows = self.settings.unet_max_rows or row_limit.measure(
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

    async def draw(self, wish: Wish) -> Answer:
        arrived = time.monotonic()
        embeds, encoding, encoded = await self.encode(TextRequest([wish.prompt], ""))
        asked = time.monotonic()
        (job,) = self.engine.submit(self._request(wish, embeds))
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
        return Answer(png, job.started, spans)

    def _request(self, wish: Wish, embeds: dict[str, Any]) -> DenoiseRequest:
        return DenoiseRequest(
            **embeds,
            seeds=[wish.seed],
            steps=wish.steps,
            guidance=Guidance(self.card.guidance_scale),
            height=self.card.height,
            width=self.card.width,
            scheduler=self.card.scheduler,
        )


def _timed(function: Callable[[list[A]], list[B]]) -> Callable[[list[A]], list[Any]]:
    """Each answer with when its batch began and ended."""

    def timed(items: list[A]) -> list[tuple[B, float, float]]:
        begin = time.monotonic()
        answers = function(items)
        end = time.monotonic()
        return [(answer, begin, end) for answer in answers]

    return timed

"""The Serve applications of peers 2 and 3: Stable Diffusion as Ray's documentation has it.

The template of Ray's tutorial has one replica that holds the whole pipeline, and a FastAPI ingress
with `/imagine` that turns its picture into a PNG. We add steps and seed, the times in a header, and
a lock: Serve now runs synchronous methods in threads, so five requests could be in one pipeline at
once, whose scheduler keeps state.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from dataclasses import asdict
from typing import Any

from fastapi import FastAPI
from fastapi.responses import Response
from ray import serve

from benchmarks.common.png import to_png
from benchmarks.load.requests import GenerationRequest
from benchmarks.peers.diffusers_pipeline import (
    MAX_BATCH,
    TIMES_HEADER,
    DiffusersPipeline,
    TimedPicture,
)
from ray_stages.settings import Settings

# Serve's default of 5 would keep batches small.
MAX_ONGOING_REQUESTS = 512

app = FastAPI()


@serve.deployment(num_replicas=1, max_ongoing_requests=MAX_ONGOING_REQUESTS)
@serve.ingress(app)
class APIIngress:
    """The HTTP endpoint."""

    def __init__(self, diffusion: Any) -> None:
        self.diffusion = diffusion

    @app.get("/imagine", response_class=Response)
    async def imagine(self, prompt: str, steps: int, seed: int) -> Response:
        arrived = time.monotonic()
        image, times = await self.diffusion.generate.remote(GenerationRequest(prompt, seed, steps))
        headers = {TIMES_HEADER: json.dumps(asdict(times.with_arrival(arrived)))}
        return Response(content=to_png(image), media_type="image/png", headers=headers)


@serve.deployment
class StableDiffusion:
    """Draws one request at a time."""

    def __init__(self, settings: Settings, fast: bool) -> None:
        self.pipeline = DiffusersPipeline(settings, fast=fast)
        self.lock = threading.Lock()

    def generate(self, request: GenerationRequest) -> TimedPicture:
        with self.lock:
            return self.pipeline.draw([request])[0]


@serve.deployment(max_ongoing_requests=MAX_ONGOING_REQUESTS)
class BatchedStableDiffusion:
    """Request-level batching with `@serve.batch`.

    Requests that wait are drawn together, and later ones wait for the whole batch. The pipeline is
    called once for each number of steps in a batch.
    """

    def __init__(self, settings: Settings, fast: bool) -> None:
        self.pipeline = DiffusersPipeline(settings, fast=fast)

    @serve.batch(max_batch_size=MAX_BATCH, batch_wait_timeout_s=0.01)
    async def generate(self, requests: list[GenerationRequest]) -> list[TimedPicture]:
        return await asyncio.to_thread(self.pipeline.draw_mixed, requests)


def application(settings: Settings, *, batched: bool, fast: bool, gpus: float) -> Any:
    """Returns the Serve application. gpus: of the replica; fast: with our runtime."""
    ingress: Any = APIIngress
    diffusion: Any = BatchedStableDiffusion if batched else StableDiffusion
    options = {"num_cpus": 1, "num_gpus": gpus}
    return ingress.bind(diffusion.options(ray_actor_options=options).bind(settings, fast))

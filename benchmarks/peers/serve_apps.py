"""Peers 2 and 3: Stable Diffusion on Ray Serve as its documentation has it.

The template of Ray's tutorial: one replica that holds the whole pipeline, and a FastAPI ingress
with `/imagine` that turns its picture into a PNG. Added are the wish's steps and seed, the times in
a header, and a lock: Serve now runs synchronous methods in threads, so that five requests would be
in one pipeline at once, and its scheduler keeps state.
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

from benchmarks.loads.workload import Wish
from benchmarks.peers.pipeline import MAX_BATCH, TIMES_HEADER, Drawn, Pipeline
from benchmarks.png import to_png
from ray_stages.settings import Settings

# Serve's default of 5 would keep batches small.
ROOMY = 512

app = FastAPI()


@serve.deployment(num_replicas=1, max_ongoing_requests=ROOMY)
@serve.ingress(app)
class APIIngress:
    def __init__(self, diffusion: Any) -> None:
        self.diffusion = diffusion

    @app.get("/imagine", response_class=Response)
    async def imagine(self, prompt: str, steps: int, seed: int) -> Response:
        arrived = time.monotonic()
        image, times = await self.diffusion.generate.remote(Wish(prompt, seed, steps))
        headers = {TIMES_HEADER: json.dumps(asdict(times.arriving(arrived)))}
        return Response(content=to_png(image), media_type="image/png", headers=headers)


@serve.deployment
class StableDiffusion:
    """One request at a time."""

    def __init__(self, settings: Settings, fast: bool) -> None:
        self.pipeline = Pipeline(settings, fast=fast)
        self.lock = threading.Lock()

    def generate(self, wish: Wish) -> Drawn:
        with self.lock:
            return self.pipeline.draw([wish])[0]


@serve.deployment(max_ongoing_requests=ROOMY)
class BatchedStableDiffusion:
    """Request-level batching: what waits is drawn together, and who comes later waits for that.

    A batch is drawn in one call for each number of steps in it, and answered as a whole, as
    `@serve.batch` has it.
    """

    def __init__(self, settings: Settings, fast: bool) -> None:
        self.pipeline = Pipeline(settings, fast=fast)

    @serve.batch(max_batch_size=MAX_BATCH, batch_wait_timeout_s=0.01)
    async def generate(self, wishes: list[Wish]) -> list[Drawn]:
        return await asyncio.to_thread(self.pipeline.draw_mixed, wishes)


def application(settings: Settings, *, batched: bool, fast: bool, gpus: float) -> Any:
    ingress: Any = APIIngress
    diffusion: Any = BatchedStableDiffusion if batched else StableDiffusion
    options = {"num_cpus": 1, "num_gpus": gpus}
    return ingress.bind(diffusion.options(ray_actor_options=options).bind(settings, fast))

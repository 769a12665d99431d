"""Peers 2 and 3: Stable Diffusion on Ray Serve as its documentation has it.

The template of Ray's tutorial: one replica that holds the whole pipeline, and a FastAPI ingress
with `/imagine` that turns its picture into a PNG. Added are the wish's steps and seed, the times in
a header, and a lock: Serve now runs synchronous methods in threads, so that five requests would be
in one pipeline at once, and its scheduler keeps state.
"""

from __future__ import annotations

import asyncio
import io
import json
import threading
import time
from collections import defaultdict
from dataclasses import asdict
from typing import Any

from fastapi import FastAPI
from fastapi.responses import Response
from ray import serve

from benchmarks.pipeline import TIMES_HEADER, Pipeline, Times
from benchmarks.workload import Wish
from ray_stages.settings import Settings

# As many rows as our UNet takes at once by default: a guided picture has two.
MAX_BATCH = 16
# Serve's default of 5 would keep batches small.
ROOMY = 512

app = FastAPI()
Drawn = tuple[Any, Times]


@serve.deployment(num_replicas=1, max_ongoing_requests=ROOMY)
@serve.ingress(app)
class APIIngress:
    def __init__(self, diffusion: Any) -> None:
        self.diffusion = diffusion

    @app.get("/imagine", response_class=Response)
    async def imagine(self, prompt: str, steps: int, seed: int) -> Response:
        arrived = time.monotonic()
        image, times = await self.diffusion.generate.remote(Wish(prompt, seed, steps))
        times.arrived = arrived
        file = io.BytesIO()
        image.save(file, "PNG")
        headers = {TIMES_HEADER: json.dumps(asdict(times))}
        return Response(content=file.getvalue(), media_type="image/png", headers=headers)


@serve.deployment
class StableDiffusion:
    """One request at a time."""

    def __init__(self, settings: Settings) -> None:
        self.pipeline = Pipeline(settings)
        self.lock = threading.Lock()

    def generate(self, wish: Wish) -> Drawn:
        with self.lock:
            images, times = self.pipeline.draw([wish])
        return images[0], times


@serve.deployment(max_ongoing_requests=ROOMY)
class BatchedStableDiffusion:
    """Request-level batching: what waits is drawn together, and who comes later waits for that.

    The pipeline takes one number of steps a call, so a batch is drawn in one call for each number
    of steps in it, the shortest first; all are answered together, as `@serve.batch` has it.
    """

    def __init__(self, settings: Settings) -> None:
        self.pipeline = Pipeline(settings)

    @serve.batch(max_batch_size=MAX_BATCH, batch_wait_timeout_s=0.01)
    async def generate(self, wishes: list[Wish]) -> list[Drawn]:
        return await asyncio.to_thread(self._draw, wishes)

    def _draw(self, wishes: list[Wish]) -> list[Drawn]:
        by_steps: dict[int, list[int]] = defaultdict(list)
        for i, wish in enumerate(wishes):
            by_steps[wish.steps].append(i)
        drawn: dict[int, Drawn] = {}
        for _, members in sorted(by_steps.items()):
            images, times = self.pipeline.draw([wishes[i] for i in members])
            drawn.update((i, (image, times)) for i, image in zip(members, images, strict=True))
        returned = time.monotonic()
        for _, times in drawn.values():
            times.returned = returned
        return [drawn[i] for i in range(len(wishes))]


def application(settings: Settings, *, batched: bool, gpus: float) -> Any:
    ingress: Any = APIIngress
    diffusion: Any = BatchedStableDiffusion if batched else StableDiffusion
    options = {"num_cpus": 1, "num_gpus": gpus}
    return ingress.bind(diffusion.options(ray_actor_options=options).bind(settings))

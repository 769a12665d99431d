"""Pictures for a request, from the cache or from Triton."""

from __future__ import annotations

import contextlib
import math
from collections.abc import AsyncGenerator

from gateway.drawing.cache import Cache
from gateway.drawing.generation_request import GenerationRequest
from gateway.drawing.triton_client import TritonClient
from gateway.metrics import Metrics
from relay_client.picture import Picture, Preview


class ImageService:
    """checkpoint: the served model's name, part of the cache key; seconds: a request's deadline."""

    def __init__(
        self, triton: TritonClient, cache: Cache, metrics: Metrics, checkpoint: str, seconds: float
    ) -> None:
        self._triton = triton
        self._cache = cache
        self._metrics = metrics
        self._checkpoint = checkpoint
        self._seconds = seconds
        self._default_steps = 0  # the model's own; 0 until a stream has told it

    async def draw(self, request: GenerationRequest, request_id: str) -> list[Picture]:
        """The finished pictures. Raises ApiError."""
        if cached := self._cached(request):
            return cached
        return self._drawn(request, await self._triton.draw(request, request_id, self._seconds))

    async def stream(
        self, request: GenerationRequest, request_id: str, previews: int
    ) -> AsyncGenerator[Preview, None]:
        """At most `previews` previews, evenly over the steps, then the finished pictures.

        A request that starts from a picture has no previews. Raises ApiError.
        """
        cached = self._cached(request)
        if cached or request.init_image is not None or not previews:
            pictures = cached or await self.draw(request, request_id)
            steps = request.options.get("steps", self._default_steps)
            yield Preview(steps, steps, pictures, is_final=True)
            return
        shown = 0
        every = max(1, math.ceil(self._steps(request) / (previews + 1)))
        responses = self._triton.stream(request, request_id, self._seconds, every)
        async with contextlib.aclosing(responses):
            async for preview in responses:
                self._learn_default_steps(request, preview)
                if preview.is_final:
                    self._drawn(request, preview.pictures)
                due = preview.step * (previews + 1) // preview.steps
                if preview.is_final or (preview.pictures and due > shown):
                    shown = due
                    yield preview

    def _cached(self, request: GenerationRequest) -> list[Picture] | None:
        if not request.seeded:
            return None
        pictures = self._cache.get(request.fingerprint(self._checkpoint))
        if pictures:
            self._metrics.cache_hits.inc()
        return pictures

    def _drawn(self, request: GenerationRequest, pictures: list[Picture]) -> list[Picture]:
        """Counts and caches the pictures, and returns them."""
        self._metrics.pictures.inc(len(pictures))
        if request.seeded:
            self._cache.put(request.fingerprint(self._checkpoint), pictures)
        return pictures

    def _steps(self, request: GenerationRequest) -> int:
        return int(request.options.get("steps", self._default_steps))

    def _learn_default_steps(self, request: GenerationRequest, preview: Preview) -> None:
        if "steps" not in request.options:
            self._default_steps = preview.steps

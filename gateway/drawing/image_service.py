"""Where pictures come from: Triton, or the cache of those that were drawn before."""

from __future__ import annotations

import contextlib
import math
from collections.abc import AsyncGenerator

from gateway.drawing.cache import Cache
from gateway.drawing.generation import Wish
from gateway.drawing.triton import Triton
from gateway.metrics import Metrics
from relay_client.picture import Picture, Preview


class Studio:
    def __init__(
        self, triton: Triton, cache: Cache, metrics: Metrics, checkpoint: str, seconds: float
    ) -> None:
        self._triton = triton
        self._cache = cache
        self._metrics = metrics
        self._checkpoint = checkpoint
        self._seconds = seconds
        self._usual_steps = 0  # the model's own, once it has told them

    async def draw(self, wish: Wish, request_id: str) -> list[Picture]:
        if known := self._known(wish):
            return known
        return self._drawn(wish, await self._triton.draw(wish, request_id, self._seconds))

    async def stream(
        self, wish: Wish, request_id: str, previews: int
    ) -> AsyncGenerator[Preview, None]:
        """At most so many previews, evenly over the steps, and then the pictures."""
        known = self._known(wish)
        if known or wish.init_image is not None or not previews:
            pictures = known or await self.draw(wish, request_id)
            steps = wish.options.get("steps", self._usual_steps)
            yield Preview(steps, steps, pictures, is_final=True)
            return
        shown = 0
        every = max(1, math.ceil(self._steps(wish) / (previews + 1)))
        answers = self._triton.stream(wish, request_id, self._seconds, every)
        async with contextlib.aclosing(answers):
            async for preview in answers:
                self._learn(wish, preview)
                if preview.is_final:
                    self._drawn(wish, preview.pictures)
                share = preview.step * (previews + 1) // preview.steps
                if preview.is_final or (preview.pictures and share > shown):
                    shown = share
                    yield preview

    def _known(self, wish: Wish) -> list[Picture] | None:
        known = self._cache.get(wish.fingerprint(self._checkpoint)) if wish.seeded else None
        if known:
            self._metrics.cache_hits.inc()
        return known

    def _drawn(self, wish: Wish, pictures: list[Picture]) -> list[Picture]:
        self._metrics.pictures.inc(len(pictures))
        if wish.seeded:
            self._cache.put(wish.fingerprint(self._checkpoint), pictures)
        return pictures

    def _steps(self, wish: Wish) -> int:
        """0 where nobody has told yet."""
        return int(wish.options.get("steps", self._usual_steps))

    def _learn(self, wish: Wish, preview: Preview) -> None:
        if "steps" not in wish.options:
            self._usual_steps = preview.steps

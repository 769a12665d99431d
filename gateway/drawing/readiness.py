"""Whether pictures can be had: a tiny one went through a moment ago, or goes through now."""

from __future__ import annotations

import asyncio
import time
import uuid

from gateway.drawing.generation import Wish
from gateway.drawing.triton import Triton
from gateway.errors import Failed

TINY = {"width": 64, "height": 64, "steps": 1, "guidance_scale": 1.0, "priority": 1}
PROBE_SECONDS = 10.0
SORRY_SECONDS = 1.0  # how long a failure is believed


class Readiness:
    """However many ask, one picture is drawn at a time."""

    def __init__(self, triton: Triton, seconds: float) -> None:
        self._triton = triton
        self._seconds = seconds
        self._looking = asyncio.Lock()
        self._until = 0.0
        self._failure: Failed | None = None

    async def check(self) -> None:
        """Raises what was wrong."""
        async with self._looking:
            if time.monotonic() >= self._until:
                await self._look()
        if self._failure:
            raise self._failure

    async def _look(self) -> None:
        wish = Wish.of("a red circle", 1, 0, options=TINY)
        try:
            await self._triton.draw(wish, f"ready.{uuid.uuid4().hex}", PROBE_SECONDS)
            self._failure = None
        except Failed as failed:
            self._failure = Failed(503, f"not ready: {failed.detail}", code="not_ready")
        self._until = time.monotonic() + (SORRY_SECONDS if self._failure else self._seconds)

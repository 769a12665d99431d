"""Readiness: whether a tiny picture can be drawn."""

from __future__ import annotations

import asyncio
import time
import uuid

from gateway.drawing.generation_request import GenerationRequest
from gateway.drawing.triton_client import TritonClient
from gateway.errors import ApiError

TINY = {"width": 64, "height": 64, "steps": 1, "guidance_scale": 1.0, "priority": 1}
PROBE_SECONDS = 10.0
FAILURE_SECONDS = 1.0  # how long a failed probe counts


class Readiness:
    """One probe at a time, whose result counts for `seconds`, however many callers ask."""

    def __init__(self, triton: TritonClient, seconds: float) -> None:
        self._triton = triton
        self._seconds = seconds
        self._lock = asyncio.Lock()
        self._valid_until = 0.0
        self._error: ApiError | None = None

    async def check(self) -> None:
        """Raises ApiError with status 503 where the gateway is not ready."""
        async with self._lock:
            if time.monotonic() >= self._valid_until:
                await self._probe()
        if self._error:
            raise self._error

    async def _probe(self) -> None:
        request = GenerationRequest.create("a red circle", 1, 0, options=TINY)
        try:
            await self._triton.draw(request, f"ready.{uuid.uuid4().hex}", PROBE_SECONDS)
            self._error = None
        except ApiError as error:
            self._error = ApiError(503, f"not ready: {error.detail}", code="not_ready")
        valid = FAILURE_SECONDS if self._error else self._seconds
        self._valid_until = time.monotonic() + valid

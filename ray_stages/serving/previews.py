"""Passes previews and final latents from the denoising thread to the replica's event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ray_stages.requests.fields import Array

if TYPE_CHECKING:
    from ray_stages.denoising.engine import Job


class PreviewQueue:
    """The previews of one request, whose pictures may reach a step at different times."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[tuple[Job, int, Array] | None] = asyncio.Queue()

    def put(self, job: Job) -> None:
        """Takes the preview of one picture; called in the denoising thread."""
        picture = job.picture
        assert picture.preview is not None
        event = job, picture.step, picture.preview[0].float().cpu().numpy()
        self._loop.call_soon_threadsafe(self._events.put_nowait, event)

    async def until_done(self, jobs: list[Job]) -> AsyncIterator[tuple[int, Array]]:
        """Yields step and latents (float32 [n, channels, h, w]) when all pictures reach the step.

        The last ones are the final latents, all others estimates of them. Raises the error of the
        first picture that fails, and cancels the others.
        """
        finished: Any = asyncio.gather(*(asyncio.wrap_future(job.latents) for job in jobs))
        finished.add_done_callback(lambda _: self._events.put_nowait(None))
        reached: dict[int, dict[Job, Array]] = defaultdict(dict)
        try:
            while event := await self._events.get():
                job, step, estimate = event
                reached[step][job] = estimate
                if len(reached[step]) == len(jobs):
                    estimates = reached.pop(step)
                    yield step, np.stack([estimates[one] for one in jobs])
            latents = np.stack(await finished)
            yield jobs[0].picture.steps, latents
        finally:
            for job in jobs:
                job.latents.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                finished.cancel()
                await finished  # otherwise asyncio logs an exception that was never retrieved

"""The denoising loop: a thread that steps all active pictures together and never waits for one.

A picture joins at the next step and leaves when its own steps are done.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field

import torch

from ray_stages.denoiser import Denoiser, Denoising
from ray_stages.request import Array, DenoiseRequest
from ray_stages.step_scheduler import StepScheduler


@dataclass
class Job:
    """A picture on its way through the loop; cancel `latents` and it leaves before its next step.

    latents: resolves to float32 [channels, h, w]. Times are `time.monotonic` seconds.
    """

    picture: Denoising
    latents: Future[Array] = field(default_factory=Future)
    submitted: float = field(default_factory=time.monotonic)
    started: float = 0.0
    finished: float = 0.0

    @property
    def size(self) -> tuple[int, int]:
        return self.picture.size

    @property
    def rows(self) -> int:
        return self.picture.rows

    @property
    def done(self) -> bool:
        return self.picture.done or self.latents.done()

    def fail(self, error: Exception) -> None:
        with _unless_cancelled():
            self.latents.set_exception(error)

    def finish(self) -> None:
        self.finished = time.monotonic()
        with _unless_cancelled():
            self.latents.set_result(self.picture.latents[0].float().cpu().numpy())


def _unless_cancelled() -> contextlib.suppress:
    """Nobody waits for the latents of a job that was cancelled in the meantime."""
    return contextlib.suppress(InvalidStateError)


class Engine:
    def __init__(self, denoiser: Denoiser, max_rows: int) -> None:
        self.denoiser = denoiser
        self._scheduler: StepScheduler[Job] = StepScheduler(max_rows)
        self._arrived = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="denoising", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def submit(self, request: DenoiseRequest) -> list[Job]:
        """Safe from any thread; makes one job a picture."""
        n = len(request.seeds)
        jobs = [Job(self.denoiser.start(request, i)) for i in range(n)]
        with self._arrived:
            for job in jobs:
                self._scheduler.add(job)
            self._arrived.notify()
        return jobs

    def close(self) -> None:
        with self._arrived:
            self._closed = True
            self._arrived.notify()
        self._thread.join()

    def _run(self) -> None:
        while batch := self._next_batch():
            active = [job for job in batch if not job.done]
            self._step(active)
            with self._arrived:
                self._scheduler.put_back(active)

    def _next_batch(self) -> list[Job]:
        with self._arrived:
            self._arrived.wait_for(lambda: self._closed or len(self._scheduler))
            return [] if self._closed else self._scheduler.next_batch()

    def _step(self, jobs: Sequence[Job]) -> None:
        now = time.monotonic()
        for job in jobs:
            job.started = job.started or now
        for job, prediction in zip(jobs, self._predict(jobs), strict=True):
            try:
                if isinstance(prediction, Exception):
                    raise prediction
                self.denoiser.advance(job.picture, prediction)
                if job.picture.done:
                    job.finish()
            except Exception as error:
                job.fail(error)

    def _predict(self, jobs: Sequence[Job]) -> list[torch.Tensor | Exception]:
        """One UNet call; where that fails (out of memory, a bad row), each half has its own try."""
        if not jobs:
            return []
        try:
            return list(self.denoiser.predict([job.picture for job in jobs]))
        except Exception as error:
            if len(jobs) == 1:
                return [error]
        half = len(jobs) // 2
        return self._predict(jobs[:half]) + self._predict(jobs[half:])

"""The denoising loop: a thread that steps all active pictures together and never waits for one.

A picture joins at the next step and leaves when its own steps are done.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field

import torch

from ray_stages.denoising.denoiser import Denoiser, Denoising
from ray_stages.denoising.step_scheduler import StepScheduler
from ray_stages.errors import DeadlineExceeded, Overloaded
from ray_stages.requests.fields import Array
from ray_stages.requests.stage_requests import DenoiseRequest
from ray_stages.runtimes.memory import is_out_of_memory
from ray_stages.runtimes.torch_thread import TorchThread

Watcher = Callable[["Job"], None]


@dataclass(eq=False)
class Job:
    """A picture on its way through the loop; cancel `latents` and it leaves before its next step.

    number: of the picture in its request; rank: the lowest goes first; deadline: in Unix seconds;
    watcher: called by the loop after each step with a new preview, so it must be quick; picture:
    made by the loop; latents: resolves to float32 [channels, h, w]; started: its first step, in
    `time.monotonic` seconds.
    """

    request: DenoiseRequest
    number: int
    rank: float
    deadline: float
    watcher: Watcher | None = None
    picture: Denoising = field(init=False)
    latents: Future[Array] = field(default_factory=Future)
    started: float = 0.0

    @property
    def size(self) -> tuple[int, int]:
        return self.picture.size

    @property
    def rows(self) -> int:
        return self.picture.rows

    @property
    def done(self) -> bool:
        return self.latents.done() or self.picture.done

    def fail(self, error: Exception) -> None:
        with _unless_cancelled():
            self.latents.set_exception(error)

    def stepped(self) -> None:
        if self.picture.done:
            with _unless_cancelled():
                self.latents.set_result(self.picture.latents[0].float().cpu().numpy())
        elif self.watcher and self.picture.preview is not None:
            self.watcher(self)
            self.picture.preview = None


def _unless_cancelled() -> contextlib.suppress:
    """Nobody waits for the latents of a job that was cancelled in the meantime."""
    return contextlib.suppress(InvalidStateError)


def _no_room(job: Job) -> Overloaded:
    size = f"{job.request.height}x{job.request.width}"
    return Overloaded(f"unet: not enough memory for a picture of {size}")


class Engine:
    """max_rows: of one UNet call; max_pictures: waiting or in work, beyond it Overloaded is raised;
    aging_seconds: waiting so long counts as much as one step of priority; thread: where the loop
    runs, for ever.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        max_rows: int,
        max_pictures: int = 256,
        aging_seconds: float = 10.0,
        thread: TorchThread | None = None,
    ) -> None:
        self.denoiser = denoiser
        self.max_pictures = max_pictures
        self.aging_seconds = aging_seconds
        self._scheduler: StepScheduler[Job] = StepScheduler(max_rows)
        self._new: list[Job] = []
        self._arrived = threading.Condition()
        self._closed = False
        self._loop = (thread or TorchThread()).submit(self._run)

    @property
    def alive(self) -> bool:
        return not self._loop.done()

    @property
    def max_rows(self) -> int:
        return self._scheduler.max_rows

    def submit(
        self,
        request: DenoiseRequest,
        deadline: float = float("inf"),
        watcher: Watcher | None = None,
    ) -> list[Job]:
        """Safe from any thread; makes one job a picture."""
        # Whoever came `aging_seconds` earlier ranks with those one priority more urgent.
        rank = time.monotonic() + request.priority * self.aging_seconds
        n = len(request.seeds)
        jobs = [Job(request, i, rank, deadline, watcher) for i in range(n)]
        with self._arrived:
            there = len(self._scheduler) + len(self._new)
            if there + n > self.max_pictures:
                raise Overloaded(
                    f"unet: {n} more on {there} pictures in the denoising loop, "
                    f"the limit of a replica is {self.max_pictures}"
                )
            self._new += jobs
            self._arrived.notify()
        return jobs

    def close(self) -> None:
        with self._arrived:
            self._closed = True
            self._arrived.notify()
        self._loop.result()

    def _run(self) -> None:
        while batch := self._next_batch():
            self._step(batch)

    def _next_batch(self) -> list[Job]:
        while not self._closed:
            new = list(self._new)
            for job in new:
                self._begin(job)
            with self._arrived:
                del self._new[: len(new)]
                for job in new:
                    if not job.done:
                        self._scheduler.add(job)
                self._drop_late()
                if batch := self._scheduler.next_batch():
                    return batch
                if not self._new and not self._closed:
                    self._arrived.wait()
        return []

    def _begin(self, job: Job) -> None:
        """In the loop's own thread, though it takes a millisecond or two: see `TorchThread`."""
        if not job.latents.done():
            try:
                job.picture = self.denoiser.start(job.request, job.number)
            except Exception as error:
                job.fail(error)

    def _drop_late(self) -> None:
        now = time.time()
        for job in self._scheduler:
            if now > job.deadline:
                done = f"{job.picture.step} of {job.picture.steps} steps"
                job.fail(DeadlineExceeded(f"unet: the deadline has passed after {done}"))

    def _step(self, jobs: Sequence[Job]) -> None:
        now = time.monotonic()
        for job in jobs:
            job.started = job.started or now
        for job, prediction in zip(jobs, self._predict(jobs), strict=True):
            try:
                if isinstance(prediction, Exception):
                    raise prediction
                self.denoiser.advance(job.picture, prediction)
                job.stepped()
            except Exception as error:
                job.fail(error)

    def _predict(self, jobs: Sequence[Job]) -> list[torch.Tensor | Exception]:
        """One UNet call; where that fails (out of memory, a bad row), each half has its own try."""
        try:
            return list(self.denoiser.predict([job.picture for job in jobs]))
        except Exception as error:
            out_of_memory = is_out_of_memory(error)
            if len(jobs) == 1:
                return [_no_room(jobs[0]) if out_of_memory else error]
        half = len(jobs) // 2
        if out_of_memory:
            torch.cuda.empty_cache()
            fits = sum(job.rows for job in jobs[:half])
            self._scheduler.max_rows = min(self._scheduler.max_rows, fits)
        return self._predict(jobs[:half]) + self._predict(jobs[half:])

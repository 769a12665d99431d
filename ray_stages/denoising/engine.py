"""The denoising loop: one thread that runs the next steps of all active pictures in batches.

A new picture joins at the next step, and each picture leaves after its own last step.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field

import torch

from ray_stages.denoising.denoiser import Denoiser, DenoisingState
from ray_stages.denoising.step_scheduler import StepScheduler
from ray_stages.errors import DeadlineExceeded, Overloaded
from ray_stages.requests.fields import Array
from ray_stages.requests.stage_requests import DenoiseRequest
from ray_stages.runtimes.memory import is_out_of_memory
from ray_stages.runtimes.torch_thread import TorchThread

PreviewCallback = Callable[["Job"], None]


@dataclass(eq=False)
class Job:
    """One picture in the loop. Cancelling `latents` removes it before its next step.

    index: of the picture in its request; rank: the lowest goes first; deadline: in Unix seconds;
    on_preview: the loop calls it after each step with a new preview, so it must be quick; picture:
    set by the loop; latents: resolves to float32 [channels, h, w]; started: the time of the first
    step, in `time.monotonic` seconds.
    """

    request: DenoiseRequest
    index: int
    rank: float
    deadline: float
    on_preview: PreviewCallback | None = None
    picture: DenoisingState = field(init=False)
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

    def report_step(self) -> None:
        """Passes the final latents or a new preview on."""
        if self.picture.done:
            with _unless_cancelled():
                self.latents.set_result(self.picture.latents[0].float().cpu().numpy())
        elif self.on_preview and self.picture.preview is not None:
            self.on_preview(self)
            self.picture.preview = None


def _unless_cancelled() -> contextlib.suppress:
    """Ignores that a job was cancelled in the meantime."""
    return contextlib.suppress(InvalidStateError)


def _out_of_memory(job: Job) -> Overloaded:
    size = f"{job.request.height}x{job.request.width}"
    return Overloaded(f"unet: not enough memory for a picture of {size}")


class Engine:
    """Runs the denoising loop.

    max_rows: of one UNet call; max_pictures: waiting and active ones; aging_seconds: waiting that
    counts as one level of priority; thread: in which the loop runs until `close`.
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
        on_preview: PreviewCallback | None = None,
    ) -> list[Job]:
        """Adds one job for each picture; thread-safe. Raises Overloaded above `max_pictures`."""
        # A job that came `aging_seconds` earlier ranks like one of the next higher priority.
        rank = time.monotonic() + request.priority * self.aging_seconds
        n = len(request.seeds)
        jobs = [Job(request, i, rank, deadline, on_preview) for i in range(n)]
        with self._arrived:
            present = len(self._scheduler) + len(self._new)
            if present + n > self.max_pictures:
                raise Overloaded(
                    f"unet: {n} more on {present} pictures in the denoising loop, "
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
        """Waits for jobs, and returns those of the next step; empty after `close`."""
        while not self._closed:
            new = list(self._new)
            for job in new:
                self._begin(job)
            with self._arrived:
                del self._new[: len(new)]
                for job in new:
                    if not job.done:
                        self._scheduler.add(job)
                self._fail_expired()
                if batch := self._scheduler.next_batch():
                    return batch
                if not self._new and not self._closed:
                    self._arrived.wait()
        return []

    def _begin(self, job: Job) -> None:
        """Starts a picture, in the loop's thread because it uses torch; see `TorchThread`."""
        if not job.latents.done():
            try:
                job.picture = self.denoiser.start(job.request, job.index)
            except Exception as error:
                job.fail(error)

    def _fail_expired(self) -> None:
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
                job.report_step()
            except Exception as error:
                job.fail(error)

    def _predict(self, jobs: Sequence[Job]) -> list[torch.Tensor | Exception]:
        """Computes predictions in one UNet call; after an error it repeats each half of the batch.

        So an error of one row fails only its own picture. After an error of lacking memory later
        batches are smaller.
        """
        try:
            return list(self.denoiser.predict([job.picture for job in jobs]))
        except Exception as error:
            out_of_memory = is_out_of_memory(error)
            if len(jobs) == 1:
                return [_out_of_memory(jobs[0]) if out_of_memory else error]
        half = len(jobs) // 2
        if out_of_memory:
            torch.cuda.empty_cache()
            fits = sum(job.rows for job in jobs[:half])
            self._scheduler.max_rows = min(self._scheduler.max_rows, fits)
        return self._predict(jobs[:half]) + self._predict(jobs[half:])

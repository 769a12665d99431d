"""The job runner: claims jobs from the store, keeps a lease on each, and has them drawn.

When a gateway dies, the leases of its jobs run out, and another gateway claims them and starts them
again. Submission fixed the seeds, so that the pictures are the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time

import tenacity

from gateway.drawing.image_service import ImageService
from gateway.errors import ApiError, error_document
from gateway.jobs.jobs import Job, Jobs
from gateway.jobs.store import STORE_ERRORS, Store
from gateway.metrics import Metrics

log = logging.getLogger(__name__)
POLL_SECONDS = 0.5  # finds jobs that were submitted to another gateway
HEARTBEAT_SECONDS = 0.5
PURGE_SECONDS = 60
STORE_RETRY_SECONDS = 1.0
# Triton decodes each preview, which may cost as much as a step or two. A job without previews still
# needs a few, since they are what tells its progress.
PREVIEWS, PREVIEWS_FOR_PROGRESS = 10, 3


def _is_transient(error: BaseException) -> bool:
    return isinstance(error, ApiError) and error.status_code == 503


class JobRunner:
    """max_running: jobs at once; lease: in seconds."""

    def __init__(
        self,
        store: Store,
        jobs: Jobs,
        image_service: ImageService,
        metrics: Metrics,
        max_running: int,
        lease: float,
    ) -> None:
        self._store = store
        self._jobs = jobs
        self._image_service = image_service
        self._metrics = metrics
        self._slots = asyncio.Semaphore(max_running)
        self._lease = lease
        self._owner = secrets.token_hex(8)
        self._running: set[asyncio.Task[None]] = set()
        self._woken = asyncio.Event()
        self._purged_at = 0.0
        self._claiming_stopped = False
        self._claiming: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._claiming = asyncio.create_task(self._claim_jobs())

    def wake(self) -> None:
        """Has the runner look for a new job at once."""
        self._woken.set()

    def stop_claiming(self) -> None:
        """Claims no more jobs; the running ones go on."""
        self._claiming_stopped = True

    async def stop(self, seconds: float) -> None:
        """Waits so long for the running jobs, and releases the others to other gateways."""
        self.stop_claiming()
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=seconds)
            await _cancel(*late)
        if self._claiming:
            await _cancel(self._claiming)

    async def _claim_jobs(self) -> None:
        while not self._claiming_stopped:
            await self._slots.acquire()
            if job := await self._next_job():
                task = asyncio.create_task(self._run(job))
                self._running.add(task)
                task.add_done_callback(self._running.discard)

    async def _next_job(self) -> str | None:
        """Waits for a job and returns its id, or None once claiming has stopped."""
        while not self._claiming_stopped:
            self._woken.clear()
            try:
                await self._purge()
                if job := await self._store.claim(self._owner, self._lease):
                    return job
            except STORE_ERRORS as error:
                log.warning("the store: %s", error)
                await asyncio.sleep(STORE_RETRY_SECONDS)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._woken.wait(), POLL_SECONDS)
        return None

    async def _purge(self) -> None:
        if time.monotonic() > self._purged_at + PURGE_SECONDS:
            self._purged_at = time.monotonic()
            await self._store.purge()

    async def _run(self, id: str) -> None:
        try:
            job = await self._jobs.find(id)
            drawing = asyncio.create_task(self._draw(job))
            try:
                if await self._drawn_under_lease(id, drawing):
                    await self._store.finish(id)
            finally:
                await _cancel(drawing)
        except ApiError:  # the job has expired
            await self._store.finish(id)
        except asyncio.CancelledError:
            await self._store.release(id, self._owner)
            raise
        except STORE_ERRORS as error:  # the lease runs out, and the job is claimed again
            log.warning("the store: %s", error)
        finally:
            self._slots.release()

    async def _drawn_under_lease(self, id: str, drawing: asyncio.Task[None]) -> bool:
        """Renews the lease until the job is drawn. False where the lease was lost."""
        while not (await asyncio.wait({drawing}, timeout=HEARTBEAT_SECONDS))[0]:
            if not await self._store.renew(id, self._owner, self._lease):
                return False
        drawing.result()
        return True

    async def _draw(self, job: Job) -> None:
        if await self._jobs.has_ended(job):
            return
        status = "completed"
        try:
            await self._draw_with_retries(job)
        except ApiError as error:
            status = "failed"
            await self._jobs.record_end(job, {"status": status, **error.document})
        except STORE_ERRORS:
            raise
        except Exception:
            log.exception("job %s", job.id)
            status = "failed"
            document = error_document(500, "it failed; see the log")
            await self._jobs.record_end(job, {"status": status, **document})
        self._metrics.finished_jobs.labels(status).inc()

    async def _draw_with_retries(self, job: Job) -> None:
        """Retries for about a minute: a Triton that died comes back within seconds."""
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(_is_transient),
            stop=tenacity.stop_after_attempt(8),
            wait=tenacity.wait_random_exponential(multiplier=0.5, max=15),
            reraise=True,
        )
        await retrying(self._draw_once, job)

    async def _draw_once(self, job: Job) -> None:
        request_id = f"{job.id}.{secrets.token_hex(4)}"
        previews = PREVIEWS if job.previews else PREVIEWS_FOR_PROGRESS
        await self._jobs.record_progress(job, 0, job.request.options.get("steps"), None)
        responses = self._image_service.stream(job.request, request_id, previews)
        async with contextlib.aclosing(responses):
            async for preview in responses:
                if preview.is_final:
                    files = [await job.format.encode(picture.png) for picture in preview.pictures]
                    await self._jobs.complete(job, preview.steps, files)
                else:
                    png = preview.pictures[0].png if job.previews else None
                    await self._jobs.record_progress(job, preview.step, preview.steps, png)


async def _cancel(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

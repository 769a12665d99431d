"""Works on jobs: takes them from the store, keeps a lease on each, and has them drawn.

A gateway that dies lets its leases run out, and another takes its jobs up again from their start:
the seeds were settled at submission, so the pictures are the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time

import tenacity

from gateway.drawing.image_service import Studio
from gateway.errors import Failed, document
from gateway.jobs.jobs import Job, Jobs
from gateway.jobs.store import STORE_ERRORS, Store
from gateway.metrics import Metrics

log = logging.getLogger(__name__)
LOOK_SECONDS = 0.5  # for a job that another gateway was given
HEARTBEAT_SECONDS = 0.5
PURGE_SECONDS = 60
STORE_AWAY_SECONDS = 1.0
# Each preview has to be decoded, which may cost as much as a step or two.
PREVIEWS, SIGNS_OF_LIFE = 10, 3


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, Failed) and error.status_code == 503


class JobRunner:
    """most: jobs at once."""

    def __init__(
        self, store: Store, jobs: Jobs, studio: Studio, metrics: Metrics, most: int, lease: float
    ) -> None:
        self._store = store
        self._jobs = jobs
        self._studio = studio
        self._metrics = metrics
        self._room = asyncio.Semaphore(most)
        self._lease = lease
        self._owner = secrets.token_hex(8)
        self._working: set[asyncio.Task[None]] = set()
        self._news = asyncio.Event()
        self._purged = 0.0
        self._retired = False
        self._looking: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._looking = asyncio.create_task(self._look())

    def tell(self) -> None:
        """There is a new job."""
        self._news.set()

    def retire(self) -> None:
        """Takes no more."""
        self._retired = True

    async def stop(self, seconds: float) -> None:
        """What does not end in time is left to others."""
        self.retire()
        if self._working:
            _, late = await asyncio.wait(self._working, timeout=seconds)
            await _cancelled(*late)
        if self._looking:
            await _cancelled(self._looking)

    async def _look(self) -> None:
        while not self._retired:
            await self._room.acquire()
            if job := await self._claimed():
                task = asyncio.create_task(self._work(job))
                self._working.add(task)
                task.add_done_callback(self._working.discard)

    async def _claimed(self) -> str | None:
        """Waits until there is one, or none is wanted."""
        while not self._retired:
            self._news.clear()
            try:
                await self._purge()
                if job := await self._store.claim(self._owner, self._lease):
                    return job
            except STORE_ERRORS as error:
                log.warning("the store: %s", error)
                await asyncio.sleep(STORE_AWAY_SECONDS)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._news.wait(), LOOK_SECONDS)
        return None

    async def _purge(self) -> None:
        if time.monotonic() > self._purged + PURGE_SECONDS:
            self._purged = time.monotonic()
            await self._store.purge()

    async def _work(self, id: str) -> None:
        try:
            job = await self._jobs.find(id)
            drawing = asyncio.create_task(self._draw(job))
            try:
                if await self._is_done(id, drawing):
                    await self._store.finish(id)
            finally:
                await _cancelled(drawing)
        except Failed:  # it has expired
            await self._store.finish(id)
        except asyncio.CancelledError:
            await self._store.release(id, self._owner)
            raise
        except STORE_ERRORS as error:  # the lease runs out, and the job is taken up again
            log.warning("the store: %s", error)
        finally:
            self._room.release()

    async def _is_done(self, id: str, drawing: asyncio.Task[None]) -> bool:
        """False as soon as it is no longer ours: cancelled, or another's."""
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
            await self._attempts(job)
        except Failed as failed:
            status = "failed"
            await self._jobs.end(job, {"status": status, **failed.document})
        except STORE_ERRORS:
            raise
        except Exception:
            log.exception("job %s", job.id)
            status = "failed"
            await self._jobs.end(job, {"status": status, **document(500, "it failed; see the log")})
        self._metrics.finished_jobs.labels(status).inc()

    async def _attempts(self, job: Job) -> None:
        """Patiently: a job has time, and a Triton that died comes back within seconds."""
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(_may_pass),
            stop=tenacity.stop_after_attempt(8),
            wait=tenacity.wait_random_exponential(multiplier=0.5, max=15),
            reraise=True,
        )
        await retrying(self._attempt, job)

    async def _attempt(self, job: Job) -> None:
        request_id = f"{job.id}.{secrets.token_hex(4)}"
        previews = PREVIEWS if job.previews else SIGNS_OF_LIFE
        await self._jobs.tell_progress(job, 0, job.wish.options.get("steps"), None)
        answers = self._studio.stream(job.wish, request_id, previews)
        async with contextlib.aclosing(answers):
            async for seen in answers:
                if seen.is_final:
                    files = [await job.format.encode(picture.png) for picture in seen.pictures]
                    await self._jobs.complete(job, seen.steps, files)
                else:
                    preview = seen.pictures[0].png if job.previews else None
                    await self._jobs.tell_progress(job, seen.step, seen.steps, preview)


async def _cancelled(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

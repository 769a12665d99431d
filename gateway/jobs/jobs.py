"""Jobs as records in the store, and who may read them.

job:<id>          the job as submitted
job:<id>:step     its progress, written by the gateway that runs it
job:<id>:preview  its latest preview, a PNG
job:<id>:<index>  a finished picture
job:<id>:end      how it ended; of several writers, the first decides
"""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import dataclass
from typing import Any

from gateway.drawing.formats import Format
from gateway.drawing.generation_request import GenerationRequest
from gateway.errors import ApiError
from gateway.jobs.store import Store

# As in the denoising loop: a job that has waited so long overtakes the next higher priority.
PRIORITY_SECONDS = 10.0
DEFAULT_PRIORITY = 5
CANCELLED = {"status": "cancelled"}


@dataclass(frozen=True)
class Job:
    """owner: the caller that submitted it; created_at: in seconds since 1970."""

    id: str
    owner: str
    created_at: float
    previews: bool
    format: Format
    request: GenerationRequest

    def as_json(self) -> bytes:
        return json.dumps({**vars(self), "request": self.request.as_json()}).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Job:
        fields = json.loads(text)
        # Up to version 0.1 the key was `wish`; such a job may wait in the store of an upgrade.
        own = fields.pop("request" if "request" in fields else "wish")
        request = GenerationRequest.from_json(own)
        format = Format(*fields.pop("format"))
        return cls(**fields, request=request, format=format)


class Jobs:
    """seconds: how long a job, and then its pictures, are kept; max_waiting: jobs in the queue."""

    def __init__(self, store: Store, seconds: float, max_waiting: int) -> None:
        self._store = store
        self._seconds = seconds
        self._max_waiting = max_waiting

    async def submit(
        self, request: GenerationRequest, format: Format, previews: bool, owner: str
    ) -> Job:
        """Stores a job and puts it into the queue. Raises ApiError where the queue is full."""
        request.tensors()  # refuses at once what could not be sent
        job = Job(secrets.token_urlsafe(16), owner, time.time(), previews, format, request)
        await self._store.put(f"job:{job.id}", job.as_json(), self._seconds)
        priority = request.options.get("priority", DEFAULT_PRIORITY)
        turn = job.created_at + PRIORITY_SECONDS * min(max(priority, 1), 9)
        if not await self._store.enqueue(job.id, turn, self._max_waiting):
            await self._store.remove(f"job:{job.id}")
            raise ApiError(503, f"{self._max_waiting} jobs wait already", code="queue_full")
        return job

    async def find(self, id: str, owner: str | None = None) -> Job:
        """The job. Raises ApiError with status 404, also where it is another owner's."""
        text = await self._store.get(f"job:{id}")
        job = text and Job.from_json(text)
        if not job or owner not in (None, job.owner):
            raise ApiError(404, "no such job, or it has expired", param="id", code="job_not_found")
        return job

    async def state(self, job: Job) -> dict[str, Any]:
        """The job's JSON document, still without the URLs of its pictures."""
        end = await self._read(job, "end")
        position = None if end else await self._store.position(job.id)
        progress = None if position else await self._read(job, "step")
        progress = progress or {"step": 0, "steps": job.request.options.get("steps")}
        status = "queued" if position else "running"
        return {
            "id": job.id,
            "object": "job",
            "status": status,
            "position": position,
            **progress,
            "created_at": int(job.created_at),
            "expires_at": int(job.created_at + self._seconds),
            "data": [],
            "error": None,
            **(end or {}),
        }

    async def cancel(self, job: Job) -> None:
        """Leaves an ended job as it is. A running one stops at its runner's next heartbeat."""
        await self.record_end(job, CANCELLED)
        await self._store.finish(job.id)

    async def record_progress(
        self, job: Job, step: int, steps: int | None, preview: bytes | None
    ) -> None:
        if preview is not None:
            await self._store.put(f"job:{job.id}:preview", preview, self._seconds)
        progress = json.dumps({"step": step, "steps": steps}).encode()
        await self._store.put(f"job:{job.id}:step", progress, self._seconds)

    async def complete(self, job: Job, steps: int, files: list[bytes]) -> None:
        for index, file in enumerate(files):
            await self._store.put(f"job:{job.id}:{index}", file, self._seconds)
        seeds = job.request.seeds
        data = [{"seed": seed, "index": index} for index, seed in enumerate(seeds)]
        progress = (
            {"step": steps, "steps": steps} if steps else {}
        )  # 0 for an edit, whose steps are unknown
        await self.record_end(job, {"status": "completed", **progress, "data": data})

    async def record_end(self, job: Job, end: dict[str, Any]) -> None:
        """end: the fields of the state that it changes. The job expires together with its end."""
        expires = {"expires_at": int(time.time() + self._seconds)}
        await self._store.put(f"job:{job.id}", job.as_json(), self._seconds)
        ended = json.dumps({**end, **expires}).encode()
        await self._store.add(f"job:{job.id}:end", ended, self._seconds)

    async def has_ended(self, job: Job) -> bool:
        return await self._store.get(f"job:{job.id}:end") is not None

    async def preview(self, job: Job) -> bytes | None:
        return await self._store.get(f"job:{job.id}:preview")

    async def file(self, id: str, index: int) -> bytes:
        """A picture, for everyone who knows the unguessable id. Raises ApiError with status 404."""
        file = await self._store.get(f"job:{id}:{index}")
        if file is None:
            raise ApiError(404, "no such picture, or it has expired", code="picture_not_found")
        return file

    async def _read(self, job: Job, part: str) -> dict[str, Any] | None:
        text = await self._store.get(f"job:{job.id}:{part}")
        return None if text is None else json.loads(text)

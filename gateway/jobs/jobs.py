"""Pictures that are fetched later: what the store knows of a job, and who may ask.

job:<id>       what was asked for, written once
job:<id>:step  how far it is, by whoever runs it
job:<id>:end   how it ended; whoever writes it first decides
"""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import dataclass
from typing import Any

from gateway.drawing.formats import Format
from gateway.drawing.generation import Wish
from gateway.errors import Failed
from gateway.jobs.store import Store

PRIORITY_SECONDS = 10.0  # as the denoising loop has it: waiting so long counts as one priority
USUAL_PRIORITY = 5
CANCELLED = {"status": "cancelled"}


@dataclass(frozen=True)
class Job:
    id: str
    owner: str
    created_at: float
    previews: bool
    format: Format
    wish: Wish

    def as_json(self) -> bytes:
        return json.dumps({**vars(self), "wish": self.wish.as_json()}).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Job:
        said = json.loads(text)
        wish, format = Wish.from_json(said.pop("wish")), Format(*said.pop("format"))
        return cls(**said, wish=wish, format=format)


class Jobs:
    """seconds: how long a job, and then its pictures, are kept."""

    def __init__(self, store: Store, seconds: float, most: int) -> None:
        self._store = store
        self._seconds = seconds
        self._most = most

    async def submit(self, wish: Wish, format: Format, previews: bool, owner: str) -> Job:
        wish.tensors()  # what could not even be sent is refused at once
        job = Job(secrets.token_urlsafe(16), owner, time.time(), previews, format, wish)
        await self._store.put(f"job:{job.id}", job.as_json(), self._seconds)
        priority = wish.options.get("priority", USUAL_PRIORITY)
        turn = job.created_at + PRIORITY_SECONDS * min(max(priority, 1), 9)
        if not await self._store.enqueue(job.id, turn, self._most):
            await self._store.remove(f"job:{job.id}")
            raise Failed(503, f"{self._most} jobs wait already", code="queue_full")
        return job

    async def find(self, id: str, owner: str | None = None) -> Job:
        """Raises a 404 for another owner's too."""
        text = await self._store.get(f"job:{id}")
        job = text and Job.from_json(text)
        if not job or owner not in (None, job.owner):
            raise Failed(404, "no such job, or it has expired", param="id", code="job_not_found")
        return job

    async def state(self, job: Job) -> dict[str, Any]:
        """As the API shows it, but for the addresses of its pictures."""
        end = await self._read(job, "end")
        position = None if end else await self._store.position(job.id)
        progress = None if position else await self._read(job, "step")
        progress = progress or {"step": 0, "steps": job.wish.options.get("steps")}
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
        """What is over stays as it is; whoever runs it learns it at the next heartbeat."""
        await self.end(job, CANCELLED)
        await self._store.finish(job.id)

    async def tell_progress(
        self, job: Job, step: int, steps: int | None, preview: bytes | None
    ) -> None:
        if preview is not None:
            await self._store.put(f"job:{job.id}:preview", preview, self._seconds)
        progress = json.dumps({"step": step, "steps": steps}).encode()
        await self._store.put(f"job:{job.id}:step", progress, self._seconds)

    async def complete(self, job: Job, steps: int, files: list[bytes]) -> None:
        for index, file in enumerate(files):
            await self._store.put(f"job:{job.id}:{index}", file, self._seconds)
        seeds = job.wish.seeds
        data = [{"seed": seed, "index": index} for index, seed in enumerate(seeds)]
        progress = {"step": steps, "steps": steps} if steps else {}  # none are told of an edit
        await self.end(job, {"status": "completed", **progress, "data": data})

    async def end(self, job: Job, how: dict[str, Any]) -> None:
        """The job is kept as long as its end, from now on."""
        expires = {"expires_at": int(time.time() + self._seconds)}
        await self._store.put(f"job:{job.id}", job.as_json(), self._seconds)
        ended = json.dumps({**how, **expires}).encode()
        await self._store.add(f"job:{job.id}:end", ended, self._seconds)

    async def has_ended(self, job: Job) -> bool:
        return await self._store.get(f"job:{job.id}:end") is not None

    async def preview(self, job: Job) -> bytes | None:
        return await self._store.get(f"job:{job.id}:preview")

    async def file(self, id: str, index: int) -> bytes:
        """Not only for its owner: who knows the id was told it."""
        file = await self._store.get(f"job:{id}:{index}")
        if file is None:
            raise Failed(404, "no such picture, or it has expired", code="picture_not_found")
        return file

    async def _read(self, job: Job, part: str) -> dict[str, Any] | None:
        text = await self._store.get(f"job:{job.id}:{part}")
        return None if text is None else json.loads(text)

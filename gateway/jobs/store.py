"""The interface of the store: expiring values and a queue of jobs, shared by several gateways."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple, Protocol

from redis.exceptions import RedisError

STORE_ERRORS = (RedisError, sqlite3.OperationalError)


class Counts(NamedTuple):
    waiting: int
    running: int


class Store(Protocol):
    """Values by name, and job ids in a queue. Expired values are never returned."""

    async def put(self, name: str, value: bytes, seconds: float) -> None: ...

    async def add(self, name: str, value: bytes, seconds: float) -> bool:
        """Puts a value where there is none. True for exactly one of several concurrent callers."""
        ...

    async def get(self, name: str) -> bytes | None: ...

    async def remove(self, name: str) -> None: ...

    async def enqueue(self, job: str, turn: float, limit: int) -> bool:
        """Queues a job; the lowest turn is claimed first. False where `limit` jobs wait already."""
        ...

    async def claim(self, owner: str, seconds: float) -> str | None:
        """Gives the owner a lease on a waiting job, or on one whose lease has run out."""
        ...

    async def renew(self, job: str, owner: str, seconds: float) -> bool:
        """Extends a lease. False where another owner has the job, or it is finished."""
        ...

    async def release(self, job: str, owner: str) -> None:
        """Ends a lease early, so that another owner can claim the job."""
        ...

    async def finish(self, job: str) -> None:
        """Takes a job out of the queue."""
        ...

    async def position(self, job: str) -> int | None:
        """1 for the job that is claimed next; None for one that does not wait."""
        ...

    async def counts(self) -> Counts: ...

    async def purge(self) -> None:
        """Deletes expired values."""
        ...

    async def close(self) -> None: ...

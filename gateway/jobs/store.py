"""What outlives a gateway and is shared by several: things that expire, and a queue of jobs."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple, Protocol

from redis.exceptions import RedisError

STORE_ERRORS = (RedisError, sqlite3.OperationalError)


class Counts(NamedTuple):
    waiting: int
    running: int


class Store(Protocol):
    """Names are the caller's own; what has expired is not there."""

    async def put(self, name: str, value: bytes, seconds: float) -> None: ...

    async def add(self, name: str, value: bytes, seconds: float) -> bool:
        """Whether it was not there yet: of several who add, one does."""
        ...

    async def get(self, name: str) -> bytes | None: ...

    async def remove(self, name: str) -> None: ...

    async def enqueue(self, job: str, turn: float, limit: int) -> bool:
        """The lowest turn goes first. False where `limit` jobs wait already."""
        ...

    async def claim(self, owner: str, seconds: float) -> str | None:
        """A job that nobody works on, or whose owner let its lease run out."""
        ...

    async def renew(self, job: str, owner: str, seconds: float) -> bool:
        """False where it is no longer the owner's: taken by another, or finished."""
        ...

    async def release(self, job: str, owner: str) -> None:
        """For another to take up."""
        ...

    async def finish(self, job: str) -> None: ...

    async def position(self, job: str) -> int | None:
        """1 goes next; None where it does not wait."""
        ...

    async def counts(self) -> Counts: ...

    async def purge(self) -> None:
        """Frees what has expired."""
        ...

    async def close(self) -> None: ...

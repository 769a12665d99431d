"""The store that a URL names."""

from __future__ import annotations

from gateway.jobs.redis_store import RedisStore
from gateway.jobs.sqlite_store import SqliteStore
from gateway.jobs.store import Store

SQLITE = "sqlite:///"


async def open_store(url: str, space: str, limit: int) -> Store:
    """space: what shares a queue; limit: in bytes, for SQLite."""
    if url.startswith(SQLITE):
        return await SqliteStore.open(url.removeprefix(SQLITE), space, limit)
    return RedisStore(url, space)

"""Opens the store of a URL."""

from __future__ import annotations

from gateway.jobs.redis_store import RedisStore
from gateway.jobs.sqlite_store import SqliteStore
from gateway.jobs.store import Store

SQLITE = "sqlite:///"


async def open_store(url: str, namespace: str, max_bytes: int) -> Store:
    """namespace: gateways with the same one share a queue; max_bytes: of a SQLite file."""
    if url.startswith(SQLITE):
        return await SqliteStore.open(url.removeprefix(SQLITE), namespace, max_bytes)
    return RedisStore(url, namespace)

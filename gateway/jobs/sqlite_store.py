"""The store in one SQLite file, for the gateways of one machine.

Every operation is one statement, and so is atomic.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import aiosqlite

from gateway.jobs.store import Counts

BUSY_SECONDS = 10
PAGE_BYTES = 4096
SCHEMA = """
CREATE TABLE IF NOT EXISTS kept (
    name TEXT PRIMARY KEY, value BLOB NOT NULL, expires REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS kept_by_expiry ON kept (expires);
CREATE TABLE IF NOT EXISTS queue (
    job TEXT PRIMARY KEY, space TEXT NOT NULL, turn REAL NOT NULL,
    owner TEXT NOT NULL DEFAULT '', lease REAL NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS queue_by_turn ON queue (space, turn);
"""
PUT = """
INSERT INTO kept VALUES (:name, :value, :expires) ON CONFLICT (name)
DO UPDATE SET value = excluded.value, expires = excluded.expires
"""
GET = "SELECT value FROM kept WHERE name = :name AND expires > :now"
ADD = f"{PUT} WHERE kept.expires <= :now"
ENQUEUE = """
INSERT INTO queue (job, space, turn) SELECT :job, :space, :turn
WHERE (SELECT count(*) FROM queue WHERE space = :space AND lease = 0) < :limit
"""
CLAIM = """
UPDATE queue SET owner = :owner, lease = :until WHERE job = (
    SELECT job FROM queue WHERE space = :space AND lease < :now ORDER BY turn LIMIT 1
) RETURNING job
"""
RENEW = "UPDATE queue SET lease = :until WHERE job = :job AND owner = :owner"
RELEASE = "UPDATE queue SET lease = 0, owner = '' WHERE job = :job AND owner = :owner"
POSITION = """
SELECT (
    SELECT count(*) FROM queue
    WHERE space = mine.space AND lease < :now AND (turn, job) <= (mine.turn, mine.job)
) FROM queue AS mine WHERE job = :job AND lease < :now
"""
COUNTS = """
SELECT coalesce(sum(lease < :now), 0), coalesce(sum(lease >= :now), 0)
FROM queue WHERE space = :space
"""


class SqliteStore:
    def __init__(self, database: aiosqlite.Connection, namespace: str) -> None:
        self._database = database
        self._namespace = namespace

    @classmethod
    async def open(cls, path: str, namespace: str, max_bytes: int) -> SqliteStore:
        file = Path(path).expanduser()
        if path != ":memory:":
            file.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))  # prompts are private
        database = await aiosqlite.connect(file, isolation_level=None, timeout=BUSY_SECONDS)
        await database.execute("PRAGMA journal_mode = WAL")
        await database.execute("PRAGMA synchronous = NORMAL")
        await database.execute(f"PRAGMA max_page_count = {max_bytes // PAGE_BYTES}")
        await database.executescript(SCHEMA)
        return cls(database, namespace)

    async def put(self, name: str, value: bytes, seconds: float) -> None:
        await self._change(PUT, name=name, value=value, expires=time.time() + seconds)

    async def add(self, name: str, value: bytes, seconds: float) -> bool:
        return await self._change(ADD, name=name, value=value, expires=time.time() + seconds) > 0

    async def get(self, name: str) -> bytes | None:
        row = await self._row(GET, name=name)
        return row and bytes(row[0])

    async def remove(self, name: str) -> None:
        await self._change("DELETE FROM kept WHERE name = :name", name=name)

    async def enqueue(self, job: str, turn: float, limit: int) -> bool:
        return await self._change(ENQUEUE, job=job, turn=turn, limit=limit) > 0

    async def claim(self, owner: str, seconds: float) -> str | None:
        row = await self._row(CLAIM, owner=owner, until=time.time() + seconds)
        return row and str(row[0])

    async def renew(self, job: str, owner: str, seconds: float) -> bool:
        return await self._change(RENEW, job=job, owner=owner, until=time.time() + seconds) > 0

    async def release(self, job: str, owner: str) -> None:
        await self._change(RELEASE, job=job, owner=owner)

    async def finish(self, job: str) -> None:
        await self._change("DELETE FROM queue WHERE job = :job", job=job)

    async def position(self, job: str) -> int | None:
        row = await self._row(POSITION, job=job)
        return row and int(row[0])

    async def counts(self) -> Counts:
        return Counts(*await self._row(COUNTS))

    async def purge(self) -> None:
        await self._change("DELETE FROM kept WHERE expires <= :now")

    async def close(self) -> None:
        await self._database.close()

    async def _change(self, statement: str, **values: Any) -> int:
        cursor = await self._database.execute(statement, self._with_context(values))
        changed = cursor.rowcount
        await cursor.close()
        return changed

    async def _row(self, statement: str, **values: Any) -> Any:
        """The first row, or None. Reads all rows, since only then a changing statement is done."""
        rows = list(await self._database.execute_fetchall(statement, self._with_context(values)))
        return rows[0] if rows else None

    def _with_context(self, values: dict[str, Any]) -> dict[str, Any]:
        return {**values, "space": self._namespace, "now": time.time()}

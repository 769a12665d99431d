"""The store in Redis, for gateways on several machines. All times are by the server's clock."""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff

from gateway.jobs.store import Counts

SOCKET_SECONDS = 5
RETRIES = 3
NOW = "local t = redis.call('TIME'); local now = t[1] + t[2] / 1000000\n"
WAITING, RUNNING, OWNERS = "KEYS[1]", "KEYS[2]", "KEYS[3]"
ENQUEUE = f"""
if redis.call('ZCARD', {WAITING}) >= tonumber(ARGV[3]) then return 0 end
return redis.call('ZADD', {WAITING}, ARGV[2], ARGV[1])
"""
CLAIM = f"""{NOW}
local job = redis.call('ZRANGEBYSCORE', {RUNNING}, '-inf', now, 'LIMIT', 0, 1)[1]
if not job then job = redis.call('ZPOPMIN', {WAITING})[1] end
if not job then return false end
redis.call('ZADD', {RUNNING}, now + ARGV[2], job)
redis.call('HSET', {OWNERS}, job, ARGV[1])
return job
"""
RENEW = f"""{NOW}
if redis.call('HGET', {OWNERS}, ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('ZADD', {RUNNING}, now + ARGV[3], ARGV[1])
return 1
"""
# The lease is over at once, and CLAIM takes such jobs first.
RELEASE = f"""
if redis.call('HGET', {OWNERS}, ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('ZADD', {RUNNING}, 0, ARGV[1])
return redis.call('HDEL', {OWNERS}, ARGV[1])
"""
FINISH = f"""
redis.call('ZREM', {WAITING}, ARGV[1])
redis.call('ZREM', {RUNNING}, ARGV[1])
return redis.call('HDEL', {OWNERS}, ARGV[1])
"""


class RedisStore:
    def __init__(self, url: str, namespace: str) -> None:
        self._redis: Any = Redis.from_url(
            url,
            socket_timeout=SOCKET_SECONDS,
            socket_connect_timeout=SOCKET_SECONDS,
            retry=Retry(ExponentialBackoff(), RETRIES),
        )
        # The hash tag in braces keeps the keys on one server of a cluster, as scripts require.
        self._prefix = f"latent-relay:{{{namespace}}}:"
        self._queue = [self._prefix + part for part in ("waiting", "running", "owners")]

    async def put(self, name: str, value: bytes, seconds: float) -> None:
        await self._redis.set(self._prefix + name, value, px=int(seconds * 1000))

    async def add(self, name: str, value: bytes, seconds: float) -> bool:
        added = await self._redis.set(self._prefix + name, value, px=int(seconds * 1000), nx=True)
        return bool(added)

    async def get(self, name: str) -> bytes | None:
        value: bytes | None = await self._redis.get(self._prefix + name)
        return value

    async def remove(self, name: str) -> None:
        await self._redis.delete(self._prefix + name)

    async def enqueue(self, job: str, turn: float, limit: int) -> bool:
        return bool(await self._run(ENQUEUE, job, repr(turn), limit))

    async def claim(self, owner: str, seconds: float) -> str | None:
        job: bytes | None = await self._run(CLAIM, owner, seconds)
        return None if job is None else job.decode()

    async def renew(self, job: str, owner: str, seconds: float) -> bool:
        return bool(await self._run(RENEW, job, owner, seconds))

    async def release(self, job: str, owner: str) -> None:
        await self._run(RELEASE, job, owner)

    async def finish(self, job: str) -> None:
        await self._run(FINISH, job)

    async def position(self, job: str) -> int | None:
        rank: int | None = await self._redis.zrank(self._queue[0], job)
        return None if rank is None else rank + 1

    async def counts(self) -> Counts:
        return Counts(*[await self._redis.zcard(queue) for queue in self._queue[:2]])

    async def purge(self) -> None:
        """Nothing to do: Redis removes expired keys itself."""

    async def close(self) -> None:
        await self._redis.aclose()

    async def _run(self, script: str, *arguments: Any) -> Any:
        return await self._redis.eval(script, len(self._queue), *self._queue, *arguments)

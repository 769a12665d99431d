"""Cancels a request by its id, in whichever bridge it is.

The Triton model `cancel` calls a named Ray actor, and the actor tells every bridge. Triton itself
does not tell the steps of an ensemble that their client is gone (server issue 6739).
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray import exceptions

from ray_stages.errors import RequestCancelled

ACTOR = "latent-relay-cancellation"
POLL_SECONDS = 20.0
REPLY_TIMEOUT_SECONDS = 1.0
RETRY_SECONDS = 0.5
# Between two stages a request is in no bridge for a moment: the next bridge must still refuse it.
REMEMBER_SECONDS = 2.0

CancelOrder = tuple[int, str]  # its number, and the request's id


class CancellationBroker:
    """The actor: each bridge polls it for requests to cancel, and replies whether it had them."""

    def __init__(self) -> None:
        self._orders: dict[str, asyncio.Queue[CancelOrder]] = {}
        self._last_polls: dict[str, float] = {}
        self._replies: dict[int, asyncio.Future[bool]] = {}
        self._numbers = itertools.count()

    async def cancel(self, request_id: str) -> bool:
        """Returns whether a bridge had this request.

        Returns True with the first bridge that had it; False when all have replied, or after
        REPLY_TIMEOUT_SECONDS.
        """
        self._forget_silent_bridges()
        numbers = []
        for orders in self._orders.values():
            numbers.append(next(self._numbers))
            self._replies[numbers[-1]] = asyncio.get_running_loop().create_future()
            orders.put_nowait((numbers[-1], request_id))
        replies = [self._replies[number] for number in numbers]
        try:
            for reply in asyncio.as_completed(replies, timeout=REPLY_TIMEOUT_SECONDS):
                if await reply:
                    return True
        except asyncio.TimeoutError:
            pass
        finally:
            for number in numbers:
                self._replies.pop(number).cancel()
        return False

    async def poll(self, bridge: str, replies: dict[int, bool]) -> list[CancelOrder]:
        """Waits up to POLL_SECONDS for orders to this bridge.

        replies: by number, whether the bridge had the requests of the orders polled before.
        """
        for number, found in replies.items():
            waiting = self._replies.get(number)
            if waiting and not waiting.done():
                waiting.set_result(found)
        queue = self._orders.setdefault(bridge, asyncio.Queue())
        self._last_polls[bridge] = time.monotonic()
        try:
            orders = [await asyncio.wait_for(queue.get(), POLL_SECONDS)]
        except asyncio.TimeoutError:
            return []
        while not queue.empty():
            orders.append(queue.get_nowait())
        return orders

    def _forget_silent_bridges(self) -> None:
        now = time.monotonic()
        for bridge, polled in list(self._last_polls.items()):
            if now - polled > 2 * POLL_SECONDS:
                del self._last_polls[bridge], self._orders[bridge]


# Made once: Ray keeps for ever what it exports for each class that `ray.remote` makes.
_REMOTE_CLASS: Any = ray.remote(CancellationBroker)


def cancellation_broker() -> Any:
    """Returns the cluster's one actor, and creates it if there is none.

    Each call costs memory in Ray, so frequent callers keep the handle.
    """
    options = {"num_cpus": 0, "max_restarts": -1, "max_concurrency": 1000}
    actor = _REMOTE_CLASS.options(name=ACTOR, get_if_exists=True, lifetime="detached", **options)
    return actor.remote()


class CancellableRequests:
    """The running tasks of one bridge, by request id."""

    def __init__(self) -> None:
        self._tasks: dict[str, set[asyncio.Task[Any]]] = defaultdict(set)
        self._cancelled_until: dict[str, float] = {}

    @contextmanager
    def track(self, request_id: str, accepted_before: bool) -> Iterator[None]:
        """Inside this context, cancelling the request cancels the current task.

        Raises RequestCancelled if the request comes from an earlier stage and was cancelled within
        the last REMEMBER_SECONDS.
        """
        if accepted_before and self._cancelled_until.get(request_id, 0) > time.monotonic():
            raise RequestCancelled(f"request {request_id} was cancelled")
        task = asyncio.current_task()
        assert task
        self._tasks[request_id].add(task)
        try:
            yield
        finally:
            self._tasks[request_id].discard(task)
            if not self._tasks[request_id]:
                del self._tasks[request_id]

    def cancel(self, request_id: str) -> bool:
        """Cancels the request's tasks; returns whether there were any."""
        now = time.monotonic()
        self._cancelled_until = {n: end for n, end in self._cancelled_until.items() if end > now}
        self._cancelled_until[request_id] = now + REMEMBER_SECONDS
        tasks = self._tasks.get(request_id, set())
        for task in tasks:
            task.cancel()
        return bool(tasks)

    async def listen(self, bridge: str) -> None:
        """Carries out the broker's orders for ever; an actor that dies is created again."""
        replies: dict[int, bool] = {}
        broker: Any = None
        while True:
            try:
                broker = broker or cancellation_broker()
                orders = await broker.poll.remote(bridge, replies)
                replies = {number: self.cancel(request_id) for number, request_id in orders}
            except exceptions.RayError:
                broker, replies = None, {}
                await asyncio.sleep(RETRY_SECONDS)

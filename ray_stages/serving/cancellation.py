"""Cancel by request id: from the Triton model `cancel`, through a named Ray actor, to every bridge.

Triton itself does not tell the steps of an ensemble that their client is gone (server issue 6739).
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
ANSWER_SECONDS = 1.0
RETRY_SECONDS = 0.5
# Between two stages a request is in no bridge, for a moment.
REMEMBER_SECONDS = 2.0

Note = tuple[int, str]


class Cancellations:
    """The actor: each bridge waits here for the next ids, and says of each whether it had it."""

    def __init__(self) -> None:
        self._notes: dict[str, asyncio.Queue[Note]] = {}
        self._heard: dict[str, float] = {}
        self._answers: dict[int, asyncio.Future[bool]] = {}
        self._numbers = itertools.count()

    async def cancel(self, request_id: str) -> bool:
        """Whether a bridge had this request; returns when one had, or all have answered."""
        self._forget_the_dead()
        numbers = []
        for notes in self._notes.values():
            numbers.append(next(self._numbers))
            self._answers[numbers[-1]] = asyncio.get_running_loop().create_future()
            notes.put_nowait((numbers[-1], request_id))
        answers = [self._answers[number] for number in numbers]
        try:
            for answer in asyncio.as_completed(answers, timeout=ANSWER_SECONDS):
                if await answer:
                    return True
        except asyncio.TimeoutError:
            pass
        finally:
            for number in numbers:
                self._answers.pop(number).cancel()
        return False

    async def listen(self, bridge: str, answers: dict[int, bool]) -> list[Note]:
        """Waits for ids to cancel, a while; `answers` are those to the notes given before."""
        for number, found in answers.items():
            waiting = self._answers.get(number)
            if waiting and not waiting.done():
                waiting.set_result(found)
        notes = self._notes.setdefault(bridge, asyncio.Queue())
        self._heard[bridge] = time.monotonic()
        try:
            found_notes = [await asyncio.wait_for(notes.get(), POLL_SECONDS)]
        except asyncio.TimeoutError:
            return []
        while not notes.empty():
            found_notes.append(notes.get_nowait())
        return found_notes

    def _forget_the_dead(self) -> None:
        now = time.monotonic()
        for bridge, heard in list(self._heard.items()):
            if now - heard > 2 * POLL_SECONDS:
                del self._heard[bridge], self._notes[bridge]


# Made once: of each that `ray.remote` makes, Ray keeps what it exported, for ever.
_MADE: Any = ray.remote(Cancellations)


def channel() -> Any:
    """The one actor of the cluster; whoever needs it first makes it. Who calls often keeps it."""
    options = {"num_cpus": 0, "max_restarts": -1, "max_concurrency": 1000}
    return _MADE.options(name=ACTOR, get_if_exists=True, lifetime="detached", **options).remote()


class CancellableCalls:
    """The calls in work in one bridge, by request id."""

    def __init__(self) -> None:
        self._tasks: dict[str, set[asyncio.Task[Any]]] = defaultdict(set)
        self._unwanted: dict[str, float] = {}

    @contextmanager
    def call(self, request_id: str, accepted_before: bool) -> Iterator[None]:
        """Inside, the current task is cancelled with the request."""
        if accepted_before and self._unwanted.get(request_id, 0) > time.monotonic():
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
        """Whether there is such a call; one that comes from an earlier stage is refused too."""
        now = time.monotonic()
        self._unwanted = {name: end for name, end in self._unwanted.items() if end > now}
        self._unwanted[request_id] = now + REMEMBER_SECONDS
        tasks = self._tasks.get(request_id, set())
        for task in tasks:
            task.cancel()
        return bool(tasks)

    async def obey(self, bridge: str) -> None:
        """Cancels what the actor says, for ever; an actor that dies comes back."""
        answers: dict[int, bool] = {}
        actor: Any = None
        while True:
            try:
                actor = actor or channel()
                notes = await actor.listen.remote(bridge, answers)
                answers = {number: self.cancel(request_id) for number, request_id in notes}
            except exceptions.RayError:
                actor, answers = None, {}
                await asyncio.sleep(RETRY_SECONDS)

"""Chooses the pictures of the next batch of the denoising loop."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator
from itertools import count
from typing import Generic, Protocol, TypeVar

Size = tuple[int, int]


class Schedulable(Protocol):
    """A picture that needs steps.

    size: of its latents; rows: of its next step; rank: the lowest goes first; done: it needs no
    more steps, for whatever reason.
    """

    @property
    def size(self) -> Size: ...
    @property
    def rows(self) -> int: ...
    @property
    def rank(self) -> float: ...
    @property
    def done(self) -> bool: ...


J = TypeVar("J", bound=Schedulable)


class StepScheduler(Generic[J]):
    """Batches the next steps of pictures, each of which may be at another step.

    Only latents of one size fit into one batch, so sizes take turns. Of each size it admits as many
    pictures as fit into a batch, by rank. An admitted picture steps until it is done: so each is
    done sooner than if all of them took turns. With k sizes present, at most k - 1 batches lie
    between two steps of an admitted picture. While guidance has just begun it is at most 3k - 1:
    all rows may double, and a batch may lack one row.
    """

    def __init__(self, max_rows: int) -> None:
        self.max_rows = max_rows
        self._waiting: dict[Size, list[tuple[float, int, J]]] = {}
        self._admitted: dict[Size, deque[J]] = {}
        self._arrivals = count()

    def __iter__(self) -> Iterator[J]:
        for queue in self._admitted.values():
            yield from queue
        for heap in self._waiting.values():
            yield from (job for _, _, job in heap)

    def __len__(self) -> int:
        return sum(not job.done for job in self)

    def add(self, job: J) -> None:
        """Adds a picture; of equal ranks, the first to come goes first."""
        self._admitted.setdefault(job.size, deque())
        heap = self._waiting.setdefault(job.size, [])
        heapq.heappush(heap, (job.rank, next(self._arrivals), job))

    def next_batch(self) -> list[J]:
        """Returns pictures of the next size in turn; empty if there are none.

        They have at most `max_rows` rows together, unless a single picture has more.
        """
        for size in list(self._admitted):
            queue = self._admitted.pop(size)
            self._admit(size, queue)
            if queue:
                self._admitted[size] = queue  # moves to the end of the order
                return self._take(queue)
            del self._waiting[size]
        return []

    def _admit(self, size: Size, queue: deque[J]) -> None:
        """Removes pictures that are done, and admits waiting ones of this size while they fit."""
        staying = [job for job in queue if not job.done]
        queue.clear()
        queue.extend(staying)
        rows = sum(job.rows for job in staying)
        heap = self._waiting[size]
        while heap and (heap[0][2].done or not queue or rows + heap[0][2].rows <= self.max_rows):
            job = heapq.heappop(heap)[2]
            if not job.done:
                queue.append(job)
                rows += job.rows

    def _take(self, queue: deque[J]) -> list[J]:
        """Takes from the front and appends at the back, so that pictures take turns."""
        batch = [queue.popleft()]
        rows = batch[0].rows
        while queue and rows + queue[0].rows <= self.max_rows:
            rows += queue[0].rows
            batch.append(queue.popleft())
        queue.extend(batch)
        return batch

"""Who is in the next step of the denoising loop. No torch: only decisions."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator
from itertools import count
from typing import Generic, Protocol, TypeVar

Size = tuple[int, int]


class Job(Protocol):
    """A picture in the making.

    size: of its latents; rows: what its next step costs of a batch; rank: the lowest goes first;
    done: it has left, whatever the reason.
    """

    @property
    def size(self) -> Size: ...
    @property
    def rows(self) -> int: ...
    @property
    def rank(self) -> float: ...
    @property
    def done(self) -> bool: ...


J = TypeVar("J", bound=Job)


class StepScheduler(Generic[J]):
    """Batches the next step of pictures that are at any step of their own.

    Only latents of one size fit into one batch, so sizes take turns. Of a size, as many pictures
    are admitted as have room in a batch, by rank, and an admitted one steps until it is done: that
    ends each sooner than if all of them crept on together. Between two steps of an admitted picture
    lie at most k - 1 batches, with k sizes in the house, and at most 3k - 1 while pictures whose
    guidance has just set in crowd a batch: all rows may double, and a batch may end one row short.
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
        """Among equal ranks, who came first goes first."""
        self._admitted.setdefault(job.size, deque())
        heap = self._waiting.setdefault(job.size, [])
        heapq.heappush(heap, (job.rank, next(self._arrivals), job))

    def next_batch(self) -> list[J]:
        """Those of the size whose turn it is; empty when there is nothing to do.

        At least one job, else no more than `max_rows` rows.
        """
        for size in list(self._admitted):
            queue = self._admitted.pop(size)
            self._admit(size, queue)
            if queue:
                self._admitted[size] = queue  # its next turn is the last
                return self._take(queue)
            del self._waiting[size]
        return []

    def _admit(self, size: Size, queue: deque[J]) -> None:
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
        """From the front, and then to the back: where not all fit, each has its turn."""
        batch = [queue.popleft()]
        rows = batch[0].rows
        while queue and rows + queue[0].rows <= self.max_rows:
            rows += queue[0].rows
            batch.append(queue.popleft())
        queue.extend(batch)
        return batch

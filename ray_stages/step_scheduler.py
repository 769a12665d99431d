"""Who is in the next step of the denoising loop. No torch: only decisions."""

from __future__ import annotations

from collections import deque
from typing import Generic, Protocol, TypeVar


class Job(Protocol):
    """A picture in the making: `size` is that of its latents, `rows` what it costs of a batch."""

    @property
    def size(self) -> tuple[int, int]: ...
    @property
    def rows(self) -> int: ...
    @property
    def done(self) -> bool: ...


J = TypeVar("J", bound=Job)


class StepScheduler(Generic[J]):
    """Batches the next step of pictures that are at any step of their own.

    Only latents of one size fit into one batch, so sizes take turns; within a size, pictures do.
    With k sizes and p pictures of a size, no picture waits longer than k * p batches for its step.
    """

    def __init__(self, max_rows: int) -> None:
        self.max_rows = max_rows
        self._queues: dict[tuple[int, int], deque[J]] = {}

    def __len__(self) -> int:
        return sum(len(queue) for queue in self._queues.values())

    def add(self, job: J) -> None:
        self._queues.setdefault(job.size, deque()).append(job)

    def next_batch(self) -> list[J]:
        """Takes out up to `max_rows` rows of the size whose turn it is, at least one job."""
        size, queue = next(iter(self._queues.items()))
        batch = [queue.popleft()]
        rows = batch[0].rows
        while queue and rows + queue[0].rows <= self.max_rows:
            rows += queue[0].rows
            batch.append(queue.popleft())
        del self._queues[size]
        if queue:
            self._queues[size] = queue
        return batch

    def put_back(self, batch: list[J]) -> None:
        """Those with steps left stand behind the pictures of their size that waited."""
        for job in batch:
            if not job.done:
                self.add(job)

"""An operator's actor: what is the same around each model."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import pyarrow as pa

from batch import rows
from batch.rows import OK, Row
from ray_stages.errors import RelayError, StageFailed
from ray_stages.runtimes.torch_thread import TorchThread


class BusyClock:
    """Of calls that may overlap: each is told the busy time since one last ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._since = 0.0

    def begin(self) -> None:
        with self._lock:
            if not self._inside:
                self._since = time.monotonic()
            self._inside += 1

    def end(self) -> float:
        """In seconds; those of all calls add up to the time in which there was any."""
        with self._lock:
            self._inside -= 1
            now = time.monotonic()
            busy, self._since = now - self._since, now
            return busy


class Station(ABC):
    """Ray Data calls it with a batch; rows in error pass through. What a call took is shared out
    among its rows, so that the sum over all rows is the time that the operator was busy.
    """

    name: ClassVar[str]

    def __init__(self, threads: int) -> None:
        self.torch = TorchThread(threads)
        self.clock = BusyClock()

    def __call__(self, batch: pa.Table) -> pa.Table:
        given: list[Row] = batch.to_pylist()
        due = [row for row in given if row["status"] == OK]
        if due:
            self.clock.begin()
            try:
                self._work_or_fail(due)
            finally:
                share = 1000 * self.clock.end() / len(due)
            for row in due:
                row[f"{self.name}_ms"] = share
        return rows.table(given)

    def _work_or_fail(self, due: Sequence[Row]) -> None:
        """Where not one of several rows gets through, it is the operator that fails, and the run.

        A rerun then tries them again, while a row in error is done.
        """
        errors = self.attempt(due)
        strange = [error for error in errors.values() if not isinstance(error, RelayError)]
        if len(due) > 1 and len(strange) == len(due):
            raise StageFailed(f"{self.name}: no row gets through") from strange[0]
        for i, error in errors.items():
            rows.fail(due[i], error)

    def attempt(self, due: Sequence[Row], first: int = 0) -> dict[int, Exception]:
        """Returns errors by the row's place. Where a batch fails each half has its own try, so that
        a bad row costs nobody else.
        """
        try:
            self.torch.submit(lambda: self.work(due)).result()
        except Exception as error:
            if len(due) == 1:
                return {first: error}
            half = len(due) // 2
            return self.attempt(due[:half], first) | self.attempt(due[half:], first + half)
        return {}

    @abstractmethod
    def work(self, due: Sequence[Row]) -> None:
        """Adds to the rows what the next operator needs; in the one thread that computes."""

"""The base class of all operators' actors: errors, times, and the thread that computes."""

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
    """Divides the time in which at least one call was in progress among calls that may overlap."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._in_progress = 0
        self._since = 0.0

    def begin(self) -> None:
        with self._lock:
            if not self._in_progress:
                self._since = time.monotonic()
            self._in_progress += 1

    def end(self) -> float:
        """Returns the busy seconds since a call last ended; all calls together have the whole."""
        with self._lock:
            self._in_progress -= 1
            now = time.monotonic()
            busy, self._since = now - self._since, now
            return busy


class OperatorActor(ABC):
    """One actor of an operator. Ray Data calls it with a batch; rows in error pass unchanged.

    The time of a call is shared out evenly among its rows (`NAME_ms`), so that the sum over all
    rows is the time in which the operator was busy.
    """

    name: ClassVar[str]

    def __init__(self, threads: int) -> None:
        self.torch = TorchThread(threads)
        self.clock = BusyClock()

    def __call__(self, batch: pa.Table) -> pa.Table:
        all_rows: list[Row] = batch.to_pylist()
        valid = [row for row in all_rows if row["status"] == OK]
        if valid:
            self.clock.begin()
            try:
                self._process_valid(valid)
            finally:
                share = 1000 * self.clock.end() / len(valid)
            for row in valid:
                row[f"{self.name}_ms"] = share
        return rows.to_table(all_rows)

    def _process_valid(self, valid: Sequence[Row]) -> None:
        """Processes rows and marks those that fail.

        Raises StageFailed where several rows fail, all of them unexpectedly: then the operator is
        broken, not the rows. A later run tries them again, while a row in error counts as done.
        """
        errors = self.process(valid)
        unexpected = [error for error in errors.values() if not isinstance(error, RelayError)]
        if len(valid) > 1 and len(unexpected) == len(valid):
            raise StageFailed(f"{self.name}: no row gets through") from unexpected[0]
        for i, error in errors.items():
            rows.mark_failed(valid[i], error)

    def process(self, valid: Sequence[Row], first: int = 0) -> dict[int, Exception]:
        """Computes the rows, and returns the errors by row number; `first` is the first's number.

        Where a batch fails, each half is tried by itself, so that a bad row fails alone.
        """
        try:
            self.torch.submit(lambda: self.compute(valid)).result()
        except Exception as error:
            if len(valid) == 1:
                return {first: error}
            half = len(valid) // 2
            return self.process(valid[:half], first) | self.process(valid[half:], first + half)
        return {}

    @abstractmethod
    def compute(self, valid: Sequence[Row]) -> None:
        """Adds to the rows what the next operator needs. Runs in the actor's computing thread."""

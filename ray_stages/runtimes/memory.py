"""Recognizes errors of lacking memory, and computes in smaller batches after them."""

from __future__ import annotations

import mmap
import re
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from ray_stages.errors import Overloaded, RelayError
from ray_stages.requests.fields import Array

T = TypeVar("T")
R = TypeVar("R")
PROBE_BYTES = 64 * 1024**2
MESSAGES = re.compile(r"out of memory|bad.?alloc|(can't|cannot|failed to) allocate", re.IGNORECASE)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that the GPU or the machine has no memory left.

    Most runtimes say so only in the message of a RuntimeError. Some say something else, such as
    OpenVINO's `Broken promise` when its threads get no memory: then a small allocation decides.
    """
    if isinstance(error, RuntimeError):
        return MESSAGES.search(str(error)) is not None or not _can_allocate()
    return isinstance(error, MemoryError)


def _can_allocate() -> bool:
    try:
        mmap.mmap(-1, PROBE_BYTES).close()
    except OSError:
        return False
    return True


class BatchSplitter:
    """Computes rows in one batch, or in smaller batches if memory does not suffice.

    It halves a batch after each error of lacking memory, and remembers the possible number of rows
    for each shape of a row. compute: takes an array [n, ...], and returns an array of n rows.
    Raises Overloaded if there is not enough memory for a single row.
    """

    def __init__(self, stage: str, compute: Callable[[Array], Array]) -> None:
        self._stage = stage
        self._compute = compute
        self._max_rows: dict[tuple[int, ...], int] = {}

    def __call__(self, rows: Array) -> Array:
        parts: list[Array] = []
        while len(rows):
            part = rows[: self._max_rows.get(rows.shape[1:], len(rows))]
            if (computed := self._try_compute(part)) is not None:
                parts.append(computed)
                rows = rows[len(part) :]
        return np.concatenate(parts)

    def _try_compute(self, part: Array) -> Array | None:
        """Returns None if memory did not suffice; the next batch then has half as many rows."""
        try:
            return self._compute(part)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            if len(part) == 1:
                shape = "x".join(map(str, part.shape[1:]))
                raise Overloaded(f"{self._stage}: not enough memory for {shape}") from error
        self._max_rows[part.shape[1:]] = len(part) // 2
        return None


def compute_each(
    compute: Callable[[Sequence[T]], list[R]], requests: Sequence[T]
) -> list[R | RelayError]:
    """Returns the result or the error of each request.

    It computes all requests together. If one fails (too large for memory, not finite), it computes
    each alone, so that it harms no other.
    """
    try:
        return [*compute(requests)]
    except RelayError as error:
        if len(requests) == 1:
            return [error]
    return [result for request in requests for result in compute_each(compute, [request])]

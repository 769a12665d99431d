"""What does not fit into memory at once is computed in parts."""

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
ROOM_BYTES = 64 * 1024**2
WORDS = re.compile(r"out of memory|bad.?alloc|(can't|cannot|failed to) allocate", re.IGNORECASE)


def is_out_of_memory(error: BaseException) -> bool:
    """Of a GPU or of the machine; most runtimes tell it by the words of a RuntimeError only.

    Some tell something else (OpenVINO, whose threads have no room: `Broken promise`), hence a try.
    """
    if isinstance(error, RuntimeError):
        return WORDS.search(str(error)) is not None or not _has_room()
    return isinstance(error, MemoryError)


def _has_room() -> bool:
    try:
        mmap.mmap(-1, ROOM_BYTES).close()
    except OSError:
        return False
    return True


class InParts:
    """Computes rows together, as many as fit into memory; of which shape how many is remembered.

    compute: takes an array [n, ...], and returns one of n rows; Overloaded is raised where not even
    one row fits.
    """

    def __init__(self, stage: str, compute: Callable[[Array], Array]) -> None:
        self._stage = stage
        self._compute = compute
        self._most: dict[tuple[int, ...], int] = {}

    def __call__(self, rows: Array) -> Array:
        parts: list[Array] = []
        while len(rows):
            part = rows[: self._most.get(rows.shape[1:], len(rows))]
            if (computed := self._tried(part)) is not None:
                parts.append(computed)
                rows = rows[len(part) :]
        return np.concatenate(parts)

    def _tried(self, part: Array) -> Array | None:
        """None where they were too many: the next are half as many."""
        try:
            return self._compute(part)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            if len(part) == 1:
                shape = "x".join(map(str, part.shape[1:]))
                raise Overloaded(f"{self._stage}: not enough memory for {shape}") from error
        self._most[part.shape[1:]] = len(part) // 2
        return None


def of_each(
    compute: Callable[[Sequence[T]], list[R]], requests: Sequence[T]
) -> list[R | RelayError]:
    """Of all together; where one fails (too large for memory, not finite), of each alone.

    A request that fails has its error in the list, and harms none of the others.
    """
    try:
        return [*compute(requests)]
    except RelayError as error:
        if len(requests) == 1:
            return [error]
    return [result for request in requests for result in of_each(compute, [request])]

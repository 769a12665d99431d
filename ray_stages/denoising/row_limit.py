"""Measures how many rows one UNet call should have on this device."""

from __future__ import annotations

import time
from collections.abc import Callable

ROWS = (2, 4, 8, 16, 32, 64, 128)
MIN_LIMIT = 8  # so that a second request need not wait for the first
NEARLY_BEST = 0.95
MIN_GAIN = 1.02
ROUNDS = 4
BUDGET_SECONDS = 6.0


def measure(call: Callable[[int], None]) -> int:
    """Returns the smallest number of rows with nearly the best throughput, in rows per second.

    More rows would only make each step take longer. call: computes that many rows, and raises
    RuntimeError if memory does not suffice. The number of rows doubles while throughput grows and
    the time budget lasts. The best of ROUNDS counts, because other programs use the device too.
    """
    end = time.monotonic() + BUDGET_SECONDS
    seconds = _first_round(call)
    for _ in range(ROUNDS - 1):
        for rows in seconds:
            if time.monotonic() + seconds[rows] < end:
                seconds[rows] = min(seconds[rows], _timed(call, rows))
    rates = {rows: rows / taken for rows, taken in seconds.items()}
    threshold = NEARLY_BEST * max(rates.values(), default=0.0)
    fewest = min((rows for rows, rate in rates.items() if rate >= threshold), default=ROWS[0])
    return max(fewest, min(MIN_LIMIT, max(rates, default=ROWS[0])))


def _first_round(call: Callable[[int], None]) -> dict[int, float]:
    seconds: dict[int, float] = {}
    for rows in ROWS:
        try:
            seconds[rows] = min(_timed(call, rows) for _ in range(2))
        except RuntimeError:  # torch.cuda.OutOfMemoryError is one
            break
        best = max((n / seconds[n] for n in seconds if n < rows), default=0.0)
        doubled = 2 * sum(seconds.values())
        worthwhile = rows < MIN_LIMIT or rows / seconds[rows] >= MIN_GAIN * best
        if not worthwhile or ROUNDS * doubled > BUDGET_SECONDS:
            break
    return seconds


def _timed(call: Callable[[int], None], rows: int) -> float:
    begin = time.perf_counter()
    call(rows)
    return time.perf_counter() - begin

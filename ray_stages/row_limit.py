"""How many rows one UNet call should take on this device, by a short measurement."""

from __future__ import annotations

import time
from collections.abc import Callable

ROWS = (2, 4, 8, 16, 32, 64, 128)
PAYS = 1.02
NEARLY = 0.95
BUDGET_SECONDS = 6.0
CALLS = 3


def measure(call: Callable[[int], None]) -> int:
    """The fewest rows with nearly the best rows a second: more would only make each wait longer.

    `call` computes that many rows. They are doubled while that pays, memory suffices (`call`
    raises RuntimeError where it does not) and the measurement stays short.
    """
    rates: dict[int, float] = {}
    end = time.monotonic() + BUDGET_SECONDS
    for rows in ROWS:
        try:
            seconds = min(_timed(call, rows) for _ in range(CALLS))
        except RuntimeError:  # torch.cuda.OutOfMemoryError is one
            break
        best = max(rates.values(), default=0.0)
        rates[rows] = rows / seconds
        if rates[rows] < PAYS * best or time.monotonic() + 2 * CALLS * seconds > end:
            break
    enough = NEARLY * max(rates.values(), default=0.0)
    return min((rows for rows, rate in rates.items() if rate >= enough), default=ROWS[0])


def _timed(call: Callable[[int], None], rows: int) -> float:
    begin = time.perf_counter()
    call(rows)
    return time.perf_counter() - begin

"""How many rows one UNet call should take on this device, by a short measurement."""

from __future__ import annotations

import time
from collections.abc import Callable

ROWS = (2, 4, 8, 16, 32, 64, 128)
LEAST = 8  # so that who comes second never waits for the first, where memory and time allow
NEARLY = 0.95
PAYS = 1.02
ROUNDS = 4
BUDGET_SECONDS = 6.0


def measure(call: Callable[[int], None]) -> int:
    """The fewest rows with nearly the best rows a second: more would only make each wait longer.

    `call` computes that many rows. They are doubled while that pays, memory suffices (`call`
    raises RuntimeError where it does not) and the measurement stays short. The best of some rounds
    counts, because other programs take the device now and then.
    """
    end = time.monotonic() + BUDGET_SECONDS
    seconds = _first_round(call)
    for _ in range(ROUNDS - 1):
        for rows in seconds:
            if time.monotonic() + seconds[rows] < end:
                seconds[rows] = min(seconds[rows], _timed(call, rows))
    rates = {rows: rows / taken for rows, taken in seconds.items()}
    enough = NEARLY * max(rates.values(), default=0.0)
    fewest = min((rows for rows, rate in rates.items() if rate >= enough), default=ROWS[0])
    return max(fewest, min(LEAST, max(rates, default=ROWS[0])))


def _first_round(call: Callable[[int], None]) -> dict[int, float]:
    seconds: dict[int, float] = {}
    for rows in ROWS:
        try:
            seconds[rows] = min(_timed(call, rows) for _ in range(2))
        except RuntimeError:  # torch.cuda.OutOfMemoryError is one
            break
        best = max((less / seconds[less] for less in seconds if less < rows), default=0.0)
        doubled = 2 * sum(seconds.values())
        pays = rows < LEAST or rows / seconds[rows] >= PAYS * best
        if not pays or ROUNDS * doubled > BUDGET_SECONDS:
            break
    return seconds


def _timed(call: Callable[[int], None], rows: int) -> float:
    begin = time.perf_counter()
    call(rows)
    return time.perf_counter() - begin

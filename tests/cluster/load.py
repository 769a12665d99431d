"""A steady load of seeded requests whose right answers are known."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.pictures import TOLERANCE, difference
from tests.serving import STAR, Stack

SEEDS = range(4)
STEPS = 12

Pictures = dict[int, bytes]


def drawn(stack: Stack) -> Pictures:
    """The right answers, one at a time."""
    return {seed: stack.draw(STAR, seed=seed, steps=STEPS)[0] for seed in SEEDS}


class Load:
    """So many clients, each of which asks again as soon as it is answered."""

    def __init__(self, stacks: Sequence[Stack], clients: int) -> None:
        self.answers: list[tuple[int, bytes]] = []
        self.failures: list[str] = []
        self._stacks = stacks
        self._over = threading.Event()
        self._pool = ThreadPoolExecutor(clients)
        self._clients = [self._pool.submit(self._ask, number) for number in range(clients)]

    def _ask(self, number: int) -> None:
        stack = self._stacks[number % len(self._stacks)]
        seed = number
        while not self._over.is_set():
            seed = (seed + 1) % len(SEEDS)
            try:
                self.answers.append((seed, stack.draw(STAR, seed=seed, steps=STEPS)[0]))
            except Exception as error:
                self.failures.append(str(error))

    def stop(self) -> None:
        self._over.set()
        for client in self._clients:
            client.result(120)
        self._pool.shutdown()

    def of_each(self, *known: Pictures) -> Counter[int]:
        """How many answers are of each set of right ones; -1 counts those that are of none."""
        return Counter(
            next(
                (i for i, right in enumerate(known) if _equal(picture, right[seed])),
                -1,
            )
            for seed, picture in self.answers
        )


def _equal(picture: bytes, right: bytes) -> bool:
    return difference(picture, right) <= TOLERANCE


def until(condition: Callable[[], Any], seconds: float) -> bool:
    """As `wait_until`, at a pace that leaves the machine to the others."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.5)
    return False

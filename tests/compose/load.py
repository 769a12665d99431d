"""A steady load of pictures whose right answers are known, and what became of each."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.pictures import TOLERANCE, difference

Draw = Callable[[int], bytes]


@dataclass
class Load:
    """Each thread sends the next as soon as the last is answered; a way in is a `draw`."""

    ways: list[Draw]
    right: dict[int, bytes]
    sent: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0

    def __post_init__(self) -> None:
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(way,)) for way in self.ways]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Returns when every request that was sent has been answered."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def answered_right(self) -> int:
        return self.outcomes["right"]

    def _run(self, draw: Draw) -> None:
        while not self._stopped.is_set():
            with self._lock:
                seed = list(self.right)[self.sent % len(self.right)]
                self.sent += 1
            begin = time.monotonic()
            outcome = self._outcome(draw, seed)
            with self._lock:
                self.outcomes[outcome] += 1
                self.slowest = max(self.slowest, time.monotonic() - begin)

    def _outcome(self, draw: Draw, seed: int) -> str:
        try:
            picture = draw(seed)
        except Exception as error:  # whatever it is, it is not the picture
            return f"{type(error).__name__}: {error}"
        return "right" if difference(picture, self.right[seed]) <= TOLERANCE else "wrong"

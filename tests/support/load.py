"""A steady load of seeded pictures, and what became of each request."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.support.pictures import TOLERANCE, difference

REFUSED_SECONDS = 0.2  # before another try, as a client would wait
Draw = Callable[[int], bytes]
Pictures = dict[int, bytes]


@dataclass(frozen=True)
class Answer:
    """A picture, or the words of an error; times by the monotonic clock."""

    seed: int
    began: float
    ended: float
    picture: bytes = b""
    error: str = ""

    @property
    def seconds(self) -> float:
        return self.ended - self.began

    def is_of(self, right: Pictures) -> bool:
        known = right.get(self.seed)
        return bool(self.picture and known and difference(self.picture, known) <= TOLERANCE)


class Load:
    """A thread for each way in, which asks again as soon as it is answered."""

    def __init__(self, ways: Sequence[Draw], seeds: Sequence[int]) -> None:
        self.answers: list[Answer] = []
        self._seeds = itertools.cycle(seeds)
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(way,)) for way in ways]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Returns when every request that was sent has been answered."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def pictures(self, since: float = 0.0) -> int:
        """Of requests that began after `since`."""
        return sum(bool(one.picture) and one.began > since for one in list(self.answers))

    @property
    def slowest(self) -> float:
        """Seconds."""
        return max(one.seconds for one in self.answers)

    def outcomes(self, **right: Pictures) -> Counter[str]:
        """How many are of which set of right pictures, `wrong`, or an error by its words."""
        return Counter(
            one.error or next((name for name in right if one.is_of(right[name])), "wrong")
            for one in self.answers
        )

    def _run(self, draw: Draw) -> None:
        while not self._over.is_set():
            seed, began = next(self._seeds), time.monotonic()
            result: dict[str, Any] = {}
            try:
                result["picture"] = draw(seed)
            except Exception as error:  # whatever it is, it is not the picture
                result["error"] = f"{type(error).__name__}: {error}"
                time.sleep(REFUSED_SECONDS)
            self.answers.append(Answer(seed, began, time.monotonic(), **result))

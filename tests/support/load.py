"""A steady load of requests for seeded pictures, with the outcome of each."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.support.pictures import TOLERANCE, max_difference

RETRY_SECONDS = 0.2  # after an error, as a client would wait
Draw = Callable[[int], bytes]
Pictures = dict[int, bytes]


@dataclass(frozen=True)
class Answer:
    """A picture or an error message; times in seconds of the monotonic clock."""

    seed: int
    began: float
    ended: float
    picture: bytes = b""
    error: str = ""

    @property
    def seconds(self) -> float:
        return self.ended - self.began

    def matches(self, expected: Pictures) -> bool:
        picture = expected.get(self.seed)
        return bool(self.picture and picture and max_difference(self.picture, picture) <= TOLERANCE)


class Load:
    """Runs a thread for each client, which sends a request as soon as the last is answered."""

    def __init__(self, clients: Sequence[Draw], seeds: Sequence[int]) -> None:
        self.answers: list[Answer] = []
        self._seeds = itertools.cycle(seeds)
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(draw,)) for draw in clients]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Returns when every request that was sent has been answered."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def pictures(self, since: float = 0.0) -> int:
        """Counts the pictures of requests that began after `since`."""
        return sum(bool(one.picture) and one.began > since for one in list(self.answers))

    @property
    def slowest(self) -> float:
        """Returns the seconds of the longest request."""
        return max(one.seconds for one in self.answers)

    def outcomes(self, **expected: Pictures) -> Counter[str]:
        """Counts the answers by error message, by the set that they match, or as `wrong`."""
        return Counter(
            one.error or next((name for name in expected if one.matches(expected[name])), "wrong")
            for one in self.answers
        )

    def _run(self, draw: Draw) -> None:
        while not self._stopped.is_set():
            seed, began = next(self._seeds), time.monotonic()
            result: dict[str, Any] = {}
            try:
                result["picture"] = draw(seed)
            except Exception as error:  # every error is an outcome
                result["error"] = f"{type(error).__name__}: {error}"
                time.sleep(RETRY_SECONDS)
            self.answers.append(Answer(seed, began, time.monotonic(), **result))

"""What is asked for: the same wishes, at the same times, of every peer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

import numpy as np

from training.world import PALETTE, RADII, SHAPES


@dataclass(frozen=True)
class Wish:
    """A picture to be drawn; `at` is when it is due, in seconds from the start of a load."""

    prompt: str
    seed: int
    steps: int
    at: float = 0.0


def wishes(seed: Sequence[int], steps: Sequence[int]) -> Iterator[Wish]:
    """Without end, and the same for the same seed; each has one of `steps`, at random.

    No prompt comes twice, so that nobody's cache of prompts helps.
    """
    rng = np.random.default_rng(seed)
    while True:
        size, shape = rng.choice(list(RADII)), rng.choice(SHAPES)
        colour, ground = rng.choice(list(PALETTE), 2, replace=False)
        number = int(rng.integers(2**31))
        prompt = f"a {size} {colour} {shape} on a {ground} background, no. {number}"
        yield Wish(prompt, seed=number, steps=int(rng.choice(list(steps))))


def poisson(seed: Sequence[int], steps: Sequence[int], rate: float, seconds: float) -> list[Wish]:
    """Wishes that arrive independently of each other, `rate` a second on average.

    The pattern is the seed's alone; the rate draws it out or together.
    """
    gaps = np.random.default_rng([*seed, 1])

    def arrivals() -> Iterator[Wish]:
        now = 0.0
        for wish in wishes(seed, steps):
            now += float(gaps.exponential()) / rate
            yield replace(wish, at=now)

    return list(takewhile(lambda wish: wish.at < seconds, arrivals()))

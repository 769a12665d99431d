"""The requests of a load: the same for every peer, at the same times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

import numpy as np

from training.known import CHECKPOINT, is_known, known_words
from training.world import COLOURS, RADII, SHAPES


@dataclass(frozen=True)
class GenerationRequest:
    """A picture to draw. at: when it is due, in seconds from the start of the load."""

    prompt: str
    seed: int
    steps: int
    at: float = 0.0


def random_requests(seed: Sequence[int], steps: Sequence[int]) -> Iterator[GenerationRequest]:
    """Returns requests without end, the same for the same seed; each has one of `steps` at random.

    No prompt comes twice, so that no cache of prompts helps. The shipped checkpoint knows its
    colours and shapes.
    """
    known = known_words(CHECKPOINT)
    colours = [word for word in COLOURS if is_known(word, known)]
    shapes = [word for word in SHAPES if is_known(word, known)]
    rng = np.random.default_rng(seed)

    def requests() -> Iterator[GenerationRequest]:
        while True:
            size, shape = rng.choice(list(RADII)), rng.choice(shapes)
            colour, background = rng.choice(colours, 2, replace=False)
            number = int(rng.integers(2**31))
            prompt = f"a {size} {colour} {shape} on a {background} background, no. {number}"
            yield GenerationRequest(prompt, seed=number, steps=int(rng.choice(list(steps))))

    return requests()


def poisson_requests(
    seed: Sequence[int], steps: Sequence[int], rate: float, seconds: float
) -> list[GenerationRequest]:
    """Returns requests with Poisson arrivals, `rate` a second on average.

    The seed alone decides the pattern; the rate only stretches it.
    """
    gaps = np.random.default_rng([*seed, 1])

    def arrivals() -> Iterator[GenerationRequest]:
        now = 0.0
        for request in random_requests(seed, steps):
            now += float(gaps.exponential()) / rate
            yield replace(request, at=now)

    return list(takewhile(lambda request: request.at < seconds, arrivals()))

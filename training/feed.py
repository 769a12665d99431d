"""An endless stream of training batches, made in the process itself or by workers beside it."""

import random
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

BatchT = TypeVar("BatchT")


class _Stream(IterableDataset[BatchT], Generic[BatchT]):
    def __init__(self, make: Callable[[random.Random], BatchT], seed: int) -> None:
        self.make, self.seed = make, seed

    def __iter__(self) -> Iterator[BatchT]:
        worker = get_worker_info()
        rng = random.Random(self.seed + (10_007 * (worker.id + 1) if worker else 0))
        torch.set_num_threads(1)
        while True:
            yield self.make(rng)


def stream(
    make: Callable[[random.Random], BatchT], seed: int, workers: int = 0
) -> Iterator[BatchT]:
    """What `make` returns, again and again. A GPU needs many workers, a CPU none.

    make: takes its randomness from the generator it is given, and can be pickled.
    """
    if workers == 0:
        rng = random.Random(seed)
        return iter(lambda: make(rng), None)
    loader = DataLoader(
        _Stream(make, seed), batch_size=None, num_workers=workers, prefetch_factor=4
    )
    return iter(loader)

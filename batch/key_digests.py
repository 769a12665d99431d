"""Sets of keys that take 32 bytes a key, however long the keys are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

Digests = npt.NDArray[np.bytes_]
DTYPE = "S32"


def digests(keys: Iterable[str]) -> Digests:
    """Sorted; equal keys stay."""
    return np.sort(np.fromiter(map(_digest, keys), dtype=DTYPE))


def holds(known: Digests, keys: Sequence[str]) -> npt.NDArray[np.bool_]:
    """For each key whether it is one of the sorted `known`."""
    asked = np.fromiter(map(_digest, keys), dtype=DTYPE, count=len(keys))
    if not len(known):
        return np.zeros(len(keys), dtype=bool)
    places = np.searchsorted(known, asked).clip(max=len(known) - 1)
    return np.asarray(known[places] == asked)


def twice(known: Digests) -> Digests:
    again: Digests = known[1:][known[1:] == known[:-1]]
    return again


def _digest(key: str) -> bytes:
    return hashlib.blake2b(key.encode(errors="replace"), digest_size=16).hexdigest().encode()

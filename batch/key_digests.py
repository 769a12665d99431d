"""Sets of row keys as sorted digests: 32 bytes for each key, however long the keys are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

KeyDigests = npt.NDArray[np.bytes_]
DTYPE = "S32"


@dataclass(frozen=True)
class WrittenRows:
    """What the records hold. keys: of all rows; versions: of their keys with their contents."""

    keys: KeyDigests
    versions: KeyDigests


def digest_keys(keys: Iterable[str]) -> KeyDigests:
    """Returns the digests of all keys, sorted. A key that comes twice is there twice."""
    return np.sort(np.fromiter(map(_digest, keys), dtype=DTYPE))


def merge(parts: Sequence[KeyDigests]) -> KeyDigests:
    """Returns the digests of all parts, sorted."""
    return np.sort(np.concatenate([np.array([], DTYPE), *parts]))


def contains(known: KeyDigests, keys: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Tells for each key whether the sorted `known` have it."""
    wanted = np.fromiter(map(_digest, keys), dtype=DTYPE, count=len(keys))
    if not len(known):
        return np.zeros(len(keys), dtype=bool)
    places = np.searchsorted(known, wanted).clip(max=len(known) - 1)
    return np.asarray(known[places] == wanted)


def duplicates(known: KeyDigests) -> KeyDigests:
    """Returns the digests that the sorted `known` have more than once."""
    repeated: KeyDigests = known[1:][known[1:] == known[:-1]]
    return repeated


def _digest(key: str) -> bytes:
    return hashlib.blake2b(key.encode(errors="replace"), digest_size=16).hexdigest().encode()

"""The cache of drawn pictures."""

from __future__ import annotations

from cachetools import LRUCache

from relay_client.picture import Picture

PICTURE_OVERHEAD_BYTES = 1000  # roughly what a picture's Python objects take beside its file


def _size(pictures: list[Picture]) -> int:
    return sum(len(picture.png) + PICTURE_OVERHEAD_BYTES for picture in pictures)


class Cache:
    """Pictures by their request's fingerprint: least recently used out first, bounded in bytes."""

    def __init__(self, max_bytes: int) -> None:
        self._pictures: LRUCache[str, list[Picture]] = LRUCache(max_bytes, _size)

    def get(self, fingerprint: str) -> list[Picture] | None:
        return self._pictures.get(fingerprint)

    def put(self, fingerprint: str, pictures: list[Picture]) -> None:
        if _size(pictures) <= self._pictures.maxsize:
            self._pictures[fingerprint] = pictures

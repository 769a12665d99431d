"""Pictures that were drawn before: the same request, the same pictures."""

from __future__ import annotations

from cachetools import LRUCache

from relay_client.picture import Picture

OVERHEAD = 1000  # bytes of a picture's own objects, about


def _bytes(pictures: list[Picture]) -> int:
    return sum(len(picture.png) + OVERHEAD for picture in pictures)


class Cache:
    """Bounded in bytes; what was not asked for the longest time leaves first."""

    def __init__(self, limit: int) -> None:
        self._kept: LRUCache[str, list[Picture]] = LRUCache(limit, _bytes)

    def get(self, fingerprint: str) -> list[Picture] | None:
        return self._kept.get(fingerprint)

    def put(self, fingerprint: str, pictures: list[Picture]) -> None:
        if _bytes(pictures) <= self._kept.maxsize:
            self._kept[fingerprint] = pictures

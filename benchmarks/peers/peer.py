"""What every peer can be asked, wherever it runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from benchmarks.loads.clients import Answer, Draw
from benchmarks.loads.samples import Cell
from benchmarks.loads.workload import Wish
from ray_stages.settings import Settings


class Peer(ABC):
    """`async with` starts it and ends it."""

    key: ClassVar[str]
    label: ClassVar[str]
    in_our_process: ClassVar[bool] = False

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    async def __aenter__(self) -> Peer:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @abstractmethod
    async def start(self) -> None: ...

    @abstractmethod
    async def stop(self) -> None: ...

    @abstractmethod
    async def draw(self, wish: Wish) -> Answer: ...

    @abstractmethod
    def cpu_seconds(self) -> float:
        """Used so far."""

    async def stream(self) -> Draw | None:
        """How to draw with previews, where the peer can."""
        return None

    async def counters(self) -> dict[str, float]:
        """Seconds that grow with every picture, where the peer can tell what its hops take."""
        return {}

    def hops(self, means: Mapping[str, float], cell: Cell) -> dict[str, float]:
        """Seconds between the stages; means: what the counters grew by a picture."""
        return {}

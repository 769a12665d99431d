"""The interface of every peer, in a process of its own or in this one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from benchmarks.load.loops import DrawFunction, GenerationResult
from benchmarks.load.requests import GenerationRequest
from benchmarks.load.samples import Measurement
from ray_stages.settings import Settings


class Peer(ABC):
    """A server that is measured. `async with` starts and stops it.

    key: its name in results; label: its name in tables and plots.
    """

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
    async def draw(self, request: GenerationRequest) -> GenerationResult:
        """Draws one picture. Raises GenerationFailed."""

    @abstractmethod
    def cpu_seconds(self) -> float:
        """Returns the CPU time used so far, in seconds."""

    async def stream(self) -> DrawFunction | None:
        """Returns a function that draws with previews; None where the peer has none."""
        return None

    async def counters(self) -> dict[str, float]:
        """Returns total seconds by part so far, for peers that measure their hops."""
        return {}

    def hops(self, means: Mapping[str, float], measurement: Measurement) -> dict[str, float]:
        """Returns seconds between the stages. means: growth of the counters for each picture."""
        return {}

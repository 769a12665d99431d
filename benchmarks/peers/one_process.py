"""Peer 1: diffusers alone in one process, with our runtime or without."""

from __future__ import annotations

import asyncio
import time
from typing import ClassVar

from benchmarks.load.loops import GenerationFailed, GenerationResult
from benchmarks.load.requests import GenerationRequest
from benchmarks.peers.child_peer import ChildPeer
from benchmarks.peers.diffusers_pipeline import Times


class OneProcess(ChildPeer):
    """diffusers alone, which draws one request after the other."""

    key = "one_process"
    label = "diffusers, one process"
    options: ClassVar[list[str]] = []

    async def start(self) -> None:
        self.lock = asyncio.Lock()
        self.pipe = await self.spawn_with_pipe("benchmarks.peers.one_process_child", *self.options)

    async def draw(self, request: GenerationRequest) -> GenerationResult:
        arrived = time.monotonic()
        async with self.lock:
            png, times = await asyncio.to_thread(self._generate, request)
        return GenerationResult(png, times.first_step, times.with_arrival(arrived).spans)

    def _generate(self, request: GenerationRequest) -> tuple[bytes, Times]:
        try:
            self.pipe.send(request)
            png, times = self.pipe.recv()
        except (EOFError, OSError) as error:
            raise GenerationFailed(f"the process has ended ({error})") from error
        return png, times

    async def close(self) -> None:
        if hasattr(self, "pipe"):
            self.pipe.close()


class OneProcessFast(OneProcess):
    """The same with our runtime."""

    key = "one_process_fast"
    label = "diffusers, one process, our runtime"
    options: ClassVar[list[str]] = ["--fast"]

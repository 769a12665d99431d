"""Requests, peers and results for the tests of the benchmarks."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from PIL import Image

from benchmarks.common.png import to_png
from benchmarks.load.loops import GenerationResult
from benchmarks.load.requests import GenerationRequest
from benchmarks.load.samples import Measurement, Sample
from benchmarks.measurement.plan import PEERS
from benchmarks.peers.peer import Peer

LABELS = {key: key for key in PEERS}
FACTS = {
    "plan": {"steps": 4, "mix": [2, 4, 6], "rounds": 2, "seconds": 4.0},
    "model": {
        "name": "m",
        "dtype": "float32",
        "device": "cpu",
        "size": "8×8",
        "guidance_scale": 3.0,
        "threads": 2,
    },
    "peers": LABELS,
    "measured": "today",
    "commit": "abc",
    "machine": {"processor": "p", "cores": 2, "memory_gb": 1, "gpu": ""},
    "versions": {"torch": "2"},
}


def measurement_of(
    peer: str, load: str, latencies: list[float], seconds: float, number: int = 0
) -> Measurement:
    spans = {"text_encoder": 0.1, "unet": 0.5, "vae_decoder": 0.1, "queue": 0.2}
    samples = [Sample(0.0, 20, latency, latency / 2, spans=spans) for latency in latencies]
    return Measurement(peer, load, number, seconds, 2.0 * len(latencies), samples)


def png(level: int = 0) -> bytes:
    return to_png(Image.new("RGB", (4, 4), (level, 0, 0)))


async def draw_quickly(request: GenerationRequest) -> GenerationResult:
    await asyncio.sleep(0.01)
    return GenerationResult(png(), first_step=0.0)


class FakePeer(Peer):
    """A peer that draws at once, and starts nothing."""

    started: ClassVar[list[str]] = []

    async def start(self) -> None:
        FakePeer.started.append(self.key)

    async def stop(self) -> None: ...

    async def draw(self, request: GenerationRequest) -> GenerationResult:
        return await draw_quickly(request)

    def cpu_seconds(self) -> float:
        return 0.0


FAKE_PEERS = {key: type("Fake", (FakePeer,), {"key": key, "label": key}) for key in PEERS}

"""What it takes to hand latents from one stage to the next, by value and by reference.

Between two bare Ray actors and between two Serve deployments, in three ways: by value (the caller
gets the latents and sends them on, as Triton's ensemble does), by reference (the caller passes on
the answer without waiting for it, and never holds it) and by `ray.put` (the first stage puts the
latents into the object store and answers with the reference).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from typing import Any

# Read when Ray is imported: no statistics, and it keeps to 127.0.0.1 (on Linux too).
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"

import numpy as np
import ray
from ray import serve

from benchmarks.loads.samples import percentile
from benchmarks.reports.report import publish
from benchmarks.reports.tables import table

# Latents of SD 1.5 at 512²: of 1, 16 and 256 pictures.
SIZES = {"64 KB": (1, 4, 64, 64), "1 MB": (16, 4, 64, 64), "16 MB": (256, 4, 64, 64)}
WAYS = ("by value", "by reference", "by ray.put")
WARM_UP = 5

Shape = tuple[int, ...]
HandOver = Callable[[Shape], Awaitable[float]]


class First:
    """Makes latents."""

    def make(self, shape: Shape) -> Any:
        return np.ones(shape, np.float32)

    def put(self, shape: Shape) -> list[Any]:
        """The reference in a list, or Ray would fetch what it refers to for the next stage."""
        return [ray.put(self.make(shape))]


class Second:
    """Looks at latents."""

    def take(self, latents: Any) -> float:
        return float(latents[-1, -1, -1, -1])

    async def fetch(self, references: list[Any]) -> float:
        return self.take(await references[0])


def ways(first: Any, second: Any) -> dict[str, HandOver]:
    """`first` and `second` are two actors or the handles of two deployments."""

    async def by_value(shape: Shape) -> float:
        latents = await first.make.remote(shape)
        return float(await second.take.remote(latents))

    async def by_reference(shape: Shape) -> float:
        return float(await second.take.remote(first.make.remote(shape)))

    async def by_put(shape: Shape) -> float:
        return float(await second.fetch.remote(await first.put.remote(shape)))

    return dict(zip(WAYS, (by_value, by_reference, by_put), strict=True))


async def measure(repeats: int) -> dict[str, list[float]]:
    """Milliseconds of each hand-over, the ways taking turns, by `kind, way, size`."""
    actors = [ray.remote(part).remote() for part in (First, Second)]
    deployments: list[Any] = [serve.deployment(part) for part in (First, Second)]
    handles = [serve.run(part.bind(), name=part.name, route_prefix=None) for part in deployments]
    kinds = {"actors": ways(*actors), "Serve": ways(*handles)}
    cells = [
        (f"{kind}, {way}, {size}", hand_over, shape)
        for size, shape in SIZES.items()
        for kind, found in kinds.items()
        for way, hand_over in found.items()
    ]
    times: dict[str, list[float]] = {name: [] for name, _, _ in cells}
    for turn in range(WARM_UP + repeats):
        for name, hand_over, shape in cells:
            begin = time.perf_counter()
            assert await hand_over(shape) == 1.0
            if turn >= WARM_UP:
                times[name].append(round(1000 * (time.perf_counter() - begin), 3))
    return times


def markdown(times: dict[str, list[float]], repeats: int) -> str:
    rows = [
        (size, *(_cell(times[f"{kind}, {way}, {size}"]) for kind, way in columns()))
        for size in SIZES
    ]
    head = ("latents", *(f"{kind}, {way}" for kind, way in columns()))
    what = "Milliseconds from asking the first stage to the answer of the second"
    return f"{what}: median (p95) of {repeats}.\n\n{table(head, rows)}"


def columns() -> list[tuple[str, str]]:
    return [(kind, way) for kind in ("actors", "Serve") for way in WAYS]


def _cell(times: list[float]) -> str:
    return f"{percentile(times, 50):.1f} ({percentile(times, 95):.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.handover", description=__doc__)
    parser.add_argument("--repeats", type=int, default=100, help="of each: 100")
    parser.add_argument("--dry", action="store_true", help="only print what would be written")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        ray.init(
            address="local",
            include_dashboard=False,
            num_cpus=4,
            log_to_driver=False,
            _temp_dir=folder,
        )
        try:
            serve.start(proxy_location="Disabled")
            times = asyncio.run(measure(arguments.repeats))
        finally:
            ray.shutdown()
    text = markdown(times, arguments.repeats)
    print(text)
    if not arguments.dry:
        publish("handover", {"milliseconds": times}, text)


if __name__ == "__main__":
    main()

"""Measures how long it takes to hand latents from one stage to the next.

The stages are two Ray actors, or two Serve deployments. There are three methods:
by value, where the caller gets the latents and sends them on, as Triton's ensemble does;
by reference, where the caller passes on the answer without waiting for it, and never holds it;
by `ray.put`, where the first stage puts the latents into the object store and answers with the
reference.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from typing import Any

# Ray reads these on import: no usage statistics, and all ports on 127.0.0.1 (on Linux too).
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"

import numpy as np
import ray
from ray import serve

from benchmarks.load.samples import percentile
from benchmarks.reports.report import publish
from benchmarks.reports.tables import markdown_table

# Latents of SD 1.5 at 512², for 1, 16 and 256 pictures.
SIZES = {"64 KB": (1, 4, 64, 64), "1 MB": (16, 4, 64, 64), "16 MB": (256, 4, 64, 64)}
METHODS = ("by value", "by reference", "by ray.put")
WARM_UP = 5

Shape = tuple[int, ...]
Handover = Callable[[Shape], Awaitable[float]]


class FirstStage:
    """Makes latents."""

    def make(self, shape: Shape) -> Any:
        return np.ones(shape, np.float32)

    def put(self, shape: Shape) -> list[Any]:
        """Returns the reference in a list; Ray would replace a bare one by what it refers to."""
        return [ray.put(self.make(shape))]


class SecondStage:
    """Reads one value of the latents."""

    def take(self, latents: Any) -> float:
        return float(latents[-1, -1, -1, -1])

    async def fetch(self, references: list[Any]) -> float:
        return self.take(await references[0])


def methods(first: Any, second: Any) -> dict[str, Handover]:
    """Returns the three methods by name. first, second: actors, or handles of deployments."""

    async def by_value(shape: Shape) -> float:
        latents = await first.make.remote(shape)
        return float(await second.take.remote(latents))

    async def by_reference(shape: Shape) -> float:
        return float(await second.take.remote(first.make.remote(shape)))

    async def by_put(shape: Shape) -> float:
        return float(await second.fetch.remote(await first.put.remote(shape)))

    return dict(zip(METHODS, (by_value, by_reference, by_put), strict=True))


async def measure(repeats: int) -> dict[str, list[float]]:
    """Returns milliseconds by `kind, method, size`. All methods take turns in each round."""
    actors = [ray.remote(part).remote() for part in (FirstStage, SecondStage)]
    deployments: list[Any] = [serve.deployment(part) for part in (FirstStage, SecondStage)]
    handles = [serve.run(part.bind(), name=part.name, route_prefix=None) for part in deployments]
    kinds = {"actors": methods(*actors), "Serve": methods(*handles)}
    cases = [
        (f"{kind}, {method}, {size}", hand_over, shape)
        for size, shape in SIZES.items()
        for kind, found in kinds.items()
        for method, hand_over in found.items()
    ]
    times: dict[str, list[float]] = {name: [] for name, _, _ in cases}
    for turn in range(WARM_UP + repeats):
        for name, hand_over, shape in cases:
            begin = time.perf_counter()
            assert await hand_over(shape) == 1.0
            if turn >= WARM_UP:
                times[name].append(round(1000 * (time.perf_counter() - begin), 3))
    return times


def markdown(times: dict[str, list[float]], repeats: int) -> str:
    rows = [
        (size, *(_cell(times[f"{kind}, {method}, {size}"]) for kind, method in columns()))
        for size in SIZES
    ]
    head = ("latents", *(f"{kind}, {method}" for kind, method in columns()))
    what = "Milliseconds from asking the first stage to the answer of the second"
    return f"{what}: median (p95) of {repeats}.\n\n{markdown_table(head, rows)}"


def columns() -> list[tuple[str, str]]:
    """Returns kind and method of each column."""
    return [(kind, method) for kind in ("actors", "Serve") for method in METHODS]


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

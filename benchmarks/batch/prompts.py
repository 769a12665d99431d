"""The rows of each load, and the pipeline that reads them."""

from __future__ import annotations

import csv
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa

from batch.configuration.pipeline import Pipeline, parse_pipeline
from batch.inputs.tables import TableFiles
from benchmarks.load.requests import random_requests

BATCH_ROWS = 16
STEPS, MIXED_STEPS = (12,), (4, 8, 12, 20, 28)
SIZES, MIXED_SIZES = (128,), (96, 128, 160)
LOADS = {
    "all the same": (STEPS, SIZES),
    "mixed steps": (MIXED_STEPS, SIZES),
    "mixed steps and sizes": (MIXED_STEPS, MIXED_SIZES),
}
WARM_UP_ROWS, WARM_UP_STEPS = 64, 2
POLL_SECONDS = 0.02

PromptRow = tuple[str, int, int]  # prompt, steps, width and height in pixels


@dataclass(frozen=True)
class AwaitedFiles(TableFiles):
    """Files of which one may appear later: `open` waits for it."""

    def open(self, path: str) -> pa.NativeFile:
        while not Path(path).exists():
            time.sleep(POLL_SECONDS)
        return super().open(path)


def measured_rows(load: str) -> Iterator[PromptRow]:
    """Yields rows without end, the same each time."""
    steps, sizes = LOADS[load]
    rng = np.random.default_rng(0)
    for request in random_requests([0], steps):
        yield request.prompt, request.steps, int(rng.choice(sizes))


def warm_up_rows(load: str) -> Iterator[PromptRow]:
    """Yields full batches for every operator, so that none waits, in all sizes of the load."""
    for prompt, _, size in islice(measured_rows(load), WARM_UP_ROWS):
        yield prompt, WARM_UP_STEPS, size


def write_prompts(path: Path, rows: Iterable[PromptRow]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("prompt", "steps", "width", "height"))
        writer.writerows((prompt, steps, size, size) for prompt, steps, size in rows)


def benchmark_pipeline(folder: Path) -> Pipeline:
    """Returns the pipeline that reads FOLDER/*.csv and writes to FOLDER/out."""
    return parse_pipeline(
        {
            "input": {"path": str(folder / "*.csv")},
            "prompt": "{prompt}",
            "draw": {"columns": ["steps", "width", "height"]},
            "output": {"path": str(folder / "out"), "rows": BATCH_ROWS},
            "block": BATCH_ROWS,
        }
    )

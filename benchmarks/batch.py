"""Our batch pipeline beside the plain way to write one: `map_batches` with a whole pipeline.

The plain way is that of Ray Data's own examples: an actor holds diffusers' StableDiffusionPipeline
and draws a batch a call. Reading and writing are the same for all. Figures go to
benchmarks/results/batch.json and into docs/batch.md; the model and its device come from the
environment, as for `make serve`.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice, product
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import psutil
import pyarrow as pa
import torch

from batch.cluster import cluster
from batch.configuration.pipeline import Pipeline, parse
from batch.inputs.preparation import Preparation
from batch.inputs.tables import Files
from batch.operators.actor import Station
from batch.outputs.writer import Store
from batch.rows import Row
from batch.run import settings_of
from benchmarks.loads.workload import wishes
from benchmarks.measurement.machine import model_facts
from benchmarks.peers.pipeline import Pipeline as Diffusers
from benchmarks.png import to_png
from benchmarks.reports.report import publish
from benchmarks.reports.tables import table
from ray_stages.families.checkpoint import Checkpoint
from ray_stages.settings import ROOT, Settings

DOCUMENT = ROOT / "docs" / "batch.md"
BATCH = 16
STEPS, MIXED_STEPS = (12,), (4, 8, 12, 20, 28)
SIZES, MIXED_SIZES = (128,), (96, 128, 160)
LOADS = {
    "all the same": (STEPS, SIZES),
    "mixed steps": (MIXED_STEPS, SIZES),
    "mixed steps and sizes": (MIXED_STEPS, MIXED_SIZES),
}
PEERS = {
    "plain": "`map_batches`, PyTorch",
    "plain_fast": "`map_batches`, our runtime",
    "ours": "`batch/`",
}
GOAL = 1.3
SAMPLE_SECONDS = 5.0
GATE_SECONDS = 0.02
WARM_ROWS, WARM_STEPS = 64, 2

Asked = tuple[str, int, int]  # prompt, steps, width and height


class Plain(Station):
    """As fast as it goes: a call for each number of steps and size among the rows of a batch."""

    name = "denoise"

    def __init__(self, settings: Settings, fast: bool) -> None:
        super().__init__(settings.resources("unet").threads)
        self.pipeline = self.torch.submit(lambda: Diffusers(settings, fast=fast).pipeline).result()

    def work(self, due: Sequence[Row]) -> None:
        groups: dict[tuple[int, ...], list[Row]] = defaultdict(list)
        for row in due:
            groups[row["steps"], row["height"], row["width"]].append(row)
        for (steps, height, width), members in groups.items():
            images = self.pipeline(
                [row["prompt"] for row in members],
                num_inference_steps=steps,
                height=height,
                width=width,
                guidance_scale=members[0]["guidance_scale"],
                generator=[torch.Generator("cpu").manual_seed(row["seed"]) for row in members],
            ).images
            for row, image in zip(members, images, strict=True):
                row["png"] = to_png(image)


@dataclass(frozen=True)
class Cell:
    """rate: pictures a second, from the moment at which all actors had loaded and drawn until the
    last picture was written; cpu_seconds: of all actors in that time, for a picture, which others
    on the machine change less; memory_mb: the peak of what all workers have for themselves.
    """

    load: str
    peer: str
    rate: float
    cpu_seconds: float
    memory_mb: float


@dataclass(frozen=True)
class Gated(Files):
    """Of which a file may come later: who reads it waits."""

    def open(self, path: str) -> pa.NativeFile:
        while not Path(path).exists():
            time.sleep(GATE_SECONDS)
        return super().open(path)


def measure(load: str, peer: str, count: int) -> Cell:
    with TemporaryDirectory() as name:
        folder = Path(name)
        for file, wishes in (("first", cheap(load)), ("rest", islice(asked(load), count))):
            write_prompts(folder / f"{file}.csv", wishes)
        pipeline = pipeline_of(folder)
        settings = settings_of(pipeline)
        preparation = Preparation.of(pipeline, settings, Checkpoint(settings).card)
        files = Gated(**vars(preparation.files))
        held = (folder / "rest.csv").rename(folder / "held")
        store = Store.open(pipeline.output.path, "parquet")
        store.begin({})
        with Memory() as memory:
            written = draw(replace(preparation, files=files), store, peer)
            while next(written) < WARM_ROWS:
                pass
            begun, used = time.monotonic(), cpu_seconds()
            held.rename(folder / "rest.csv")
            while next(written) < WARM_ROWS + count:
                pass
            ended, used = time.monotonic(), cpu_seconds() - used
            assert next(written, None) is None
    return Cell(load, peer, count / (ended - begun), used / count, memory.peak_mb)


def draw(preparation: Preparation, store: Store, peer: str) -> Iterator[int]:
    """How many rows are written, after each part."""
    from batch import dataflow
    from batch.inputs import reader
    from batch.key_digests import digests

    work = reader.Work(preparation, digests([]))
    if peer == "ours":
        receipts = dataflow.build(work, store)
    else:
        plain = reader.dataset(work, preparation.pipeline.block).map_batches(
            Plain,
            fn_constructor_args=(preparation.settings, peer == "plain_fast"),
            concurrency=1,
            batch_size=BATCH,
            batch_format="pyarrow",
        )
        receipts = dataflow.written(plain, preparation.pipeline, store)
    written = 0
    parts = receipts.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)
    for part in parts:
        assert set(part["status"].to_pylist()) == {"ok"}
        written += len(part)
        yield written


def cpu_seconds() -> float:
    """Of the actors, which stay; the workers of reading and writing tasks come and go."""
    total = 0.0
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if is_worker(process, "ray::MapWorker"):
                used = process.cpu_times()
                total += used.user + used.system
    return total


def is_worker(process: psutil.Process, name: str = "ray::") -> bool:
    return any(name in word for word in process.cmdline()[:1])


def asked(load: str) -> Iterator[Asked]:
    """Without end, and the same each time."""
    steps, sizes = LOADS[load]
    rng = np.random.default_rng(0)
    for wish in wishes([0], steps):
        yield wish.prompt, wish.steps, int(rng.choice(sizes))


def cheap(load: str) -> Iterator[Asked]:
    """A full batch of every operator, so that none waits for more, in each of the load's sizes."""
    for prompt, _, size in islice(asked(load), WARM_ROWS):
        yield prompt, WARM_STEPS, size


def write_prompts(path: Path, wanted: Iterable[Asked]) -> None:
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("prompt", "steps", "width", "height"))
        rows.writerows((prompt, steps, size, size) for prompt, steps, size in wanted)


def pipeline_of(folder: Path) -> Pipeline:
    return parse(
        {
            "input": {"path": str(folder / "*.csv")},
            "prompt": "{prompt}",
            "draw": {"columns": ["steps", "width", "height"]},
            "output": {"path": str(folder / "out"), "rows": BATCH},
            "block": BATCH,
        }
    )


class Memory:
    """Looks at Ray's workers now and then."""

    def __enter__(self) -> Memory:
        self.peak_mb = 0.0
        self._ended = threading.Event()
        threading.Thread(target=self._look, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    def _look(self) -> None:
        while not self._ended.wait(SAMPLE_SECONDS):
            self.peak_mb = max(self.peak_mb, sum(map(own_mb, psutil.Process().children(True))))


def own_mb(process: psutil.Process) -> float:
    try:
        return process.memory_full_info().uss / 1024**2 if is_worker(process) else 0.0
    except psutil.Error:
        return 0.0


def markdown(cells: Sequence[Cell]) -> str:
    found = {(cell.load, cell.peer): cell for cell in cells}
    rows = [
        (cell.load, PEERS[cell.peer], *_columns(cell, found[cell.load, "plain"])) for cell in cells
    ]
    mixed = [load for load, peer in found if peer == "ours" and load.startswith("mixed")]
    least = min(found[load, "ours"].rate / found[load, "plain"].rate for load in mixed)
    verdict = "met" if least >= GOAL else "**not met**"
    head = ("rows", "", "pictures/s", "", "CPU s a picture", "memory, MB")
    return f"{table(head, rows)}\n\nGoal on mixed work: {GOAL}×; {least:.2f}×, {verdict}."


def _columns(cell: Cell, plain: Cell) -> tuple[str, ...]:
    figures = f"{cell.rate:.2f}", f"{cell.rate / plain.rate:.2f}×"
    return *figures, f"{cell.cpu_seconds:.2f}", f"{cell.memory_mb:.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.batch", description=__doc__)
    parser.add_argument("--rows", type=int, default=192, help="of each load: 192")
    parser.add_argument("--loads", nargs="+", default=list(LOADS), choices=LOADS, help="all")
    parser.add_argument("--peers", nargs="+", default=list(PEERS), choices=PEERS, help="all")
    parser.add_argument("--dry", action="store_true", help="only print what would be written")
    arguments = parser.parse_args()
    if not {"plain", "ours"} <= set(arguments.peers):
        parser.error("--peers: plain and ours at least")
    cells = []
    some = pipeline_of(Path())
    with cluster(some, settings_of(some)):
        for load, peer in product(arguments.loads, arguments.peers):
            cells.append(measure(load, peer, arguments.rows))
            print(cells[-1], flush=True)
    text = markdown(cells)
    print(text)
    if not arguments.dry:
        figures = {
            "model": model_facts(Settings.from_env()),
            "rows": arguments.rows,
            "goal": GOAL,
            "cells": [asdict(cell) for cell in cells],
        }
        publish("batch", figures, text, DOCUMENT)


if __name__ == "__main__":
    main()

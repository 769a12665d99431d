"""Measures whether memory stays flat: many rows at few steps, with the smallest test checkpoint.

Figures go to benchmarks/results/batch_memory.json and into docs/batch.md: for each quarter of the
run the peak of the object store, and the peak of the processes' own memory.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
from rich.console import Console

from batch.configuration.pipeline import Pipeline, parse_pipeline
from batch.outputs.summary import RunSummary
from batch.ray_cluster import ray_cluster
from batch.run import run, service_settings
from benchmarks.batch.workers import worker_memory_mb
from benchmarks.reports.report import publish
from benchmarks.reports.tables import markdown_table
from ray_stages.settings import ROOT
from tests.support import checkpoints

DOCUMENT = ROOT / "docs" / "batch.md"
SAMPLE_SECONDS = 2.0
QUARTERS = 4


@dataclass(frozen=True)
class MemorySample:
    """Memory in MB. seconds: since the first sample."""

    seconds: float
    store: float
    driver: float
    workers: float


class MemorySampler:
    """Takes a sample every SAMPLE_SECONDS, in a thread of its own."""

    def __init__(self) -> None:
        self.samples: list[MemorySample] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> MemorySampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _sample(self) -> None:
        import ray
        from ray._private.internal_api import get_memory_info_reply, get_state_from_address

        began, driver = time.monotonic(), psutil.Process()
        state = get_state_from_address(ray.get_runtime_context().gcs_address)
        while not self._ended.wait(SAMPLE_SECONDS):
            store = get_memory_info_reply(state).store_stats.object_store_bytes_used
            sample = MemorySample(
                seconds=time.monotonic() - began,
                store=store / 1024**2,
                driver=driver.memory_full_info().uss / 1024**2,
                workers=sum(map(worker_memory_mb, driver.children(True))),
            )
            self.samples.append(sample)


def memory_pipeline(folder: Path, rows: int, steps: int) -> Pipeline:
    """Writes a checkpoint and prompts into the folder. Returns the pipeline that draws them."""
    checkpoints.make("sd15", folder / "model")
    (folder / "prompts.txt").write_text("".join(f"picture number {n}\n" for n in range(rows)))
    return parse_pipeline(
        {
            "input": {"path": str(folder / "prompts.txt")},
            "prompt": "{text}",
            "draw": {"model": str(folder / "model"), "steps": steps},
            "output": {"path": str(folder / "out")},
        }
    )


def measure(folder: Path, rows: int, steps: int) -> tuple[RunSummary, list[MemorySample]]:
    pipeline = memory_pipeline(folder, rows, steps)
    with ray_cluster(pipeline, service_settings(pipeline)), MemorySampler() as sampler:
        summary = run(pipeline, Console(stderr=True))
    return summary, sampler.samples


def markdown(samples: Sequence[MemorySample], drawn: int, steps: int, seconds: float) -> str:
    rows = []
    for quarter in range(QUARTERS):
        start, end = (len(samples) * n // QUARTERS for n in (quarter, quarter + 1))
        peaks = (
            max(getattr(sample, name) for sample in samples[start:end])
            for name in ("store", "driver", "workers")
        )
        rows.append((f"{quarter + 1} of {QUARTERS}", *(f"{peak:.0f}" for peak in peaks)))
    head = ("quarter of the run", "object store, MB", "driver, MB", "all workers, MB")
    text = f"{drawn:,} rows drawn at {steps} steps in {seconds / 60:.1f} minutes; the peaks:"
    return f"{text}\n\n{markdown_table(head, rows)}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.batch_memory", description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000, help="20000")
    parser.add_argument("--steps", type=int, default=2, help="2")
    parser.add_argument("--dry", action="store_true", help="only print what would be written")
    arguments = parser.parse_args()
    with TemporaryDirectory() as folder:
        summary, samples = measure(Path(folder), arguments.rows, arguments.steps)
    text = markdown(samples, summary.drawn, arguments.steps, samples[-1].seconds)
    print(text)
    if not arguments.dry:
        figures = {"drawn": summary.drawn, "looks": [asdict(sample) for sample in samples]}
        publish("batch_memory", figures, text, DOCUMENT)


if __name__ == "__main__":
    main()

"""Whether memory stays flat: many rows at few steps on the smallest test checkpoint.

Figures go to benchmarks/results/batch_memory.json and into docs/batch.md: the peaks in each quarter
of the run, of the object store and of what all processes have for themselves.
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

from batch.cluster import cluster
from batch.configuration.pipeline import Pipeline, parse
from batch.outputs.summary import Tally
from batch.run import run, settings_of
from benchmarks.batch import DOCUMENT, own_mb
from benchmarks.reports.report import publish
from benchmarks.reports.tables import table
from tests.support import checkpoints

LOOK_SECONDS = 2.0
QUARTERS = 4
MEMORY = ("store", "driver", "workers")


@dataclass(frozen=True)
class Look:
    """In MB; seconds since the first."""

    seconds: float
    store: float
    driver: float
    workers: float


class Looks:
    """Now and then, in a thread of its own."""

    def __init__(self) -> None:
        self.taken: list[Look] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Looks:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        import ray
        from ray._private.internal_api import get_memory_info_reply, get_state_from_address

        began, driver = time.monotonic(), psutil.Process()
        state = get_state_from_address(ray.get_runtime_context().gcs_address)
        while not self._ended.wait(LOOK_SECONDS):
            store = get_memory_info_reply(state).store_stats.object_store_bytes_used
            look = Look(
                seconds=time.monotonic() - began,
                store=store / 1024**2,
                driver=driver.memory_full_info().uss / 1024**2,
                workers=sum(map(own_mb, driver.children(True))),
            )
            self.taken.append(look)


def pipeline_of(folder: Path, rows: int, steps: int) -> Pipeline:
    checkpoints.make("sd15", folder / "model")
    (folder / "prompts.txt").write_text("".join(f"picture number {n}\n" for n in range(rows)))
    return parse(
        {
            "input": {"path": str(folder / "prompts.txt")},
            "prompt": "{text}",
            "draw": {"model": str(folder / "model"), "steps": steps},
            "output": {"path": str(folder / "out")},
        }
    )


def measure(folder: Path, rows: int, steps: int) -> tuple[Tally, list[Look]]:
    pipeline = pipeline_of(folder, rows, steps)
    with cluster(pipeline, settings_of(pipeline)), Looks() as looks:
        tally = run(pipeline, Console(stderr=True))
    return tally, looks.taken


def markdown(looks: Sequence[Look], drawn: int, steps: int, seconds: float) -> str:
    rows = []
    for quarter in range(QUARTERS):
        some = looks[len(looks) * quarter // QUARTERS : len(looks) * (quarter + 1) // QUARTERS]
        peaks = (
            max(getattr(look, name) for look in some) for name in ("store", "driver", "workers")
        )
        rows.append((f"{quarter + 1} of {QUARTERS}", *(f"{peak:.0f}" for peak in peaks)))
    head = ("quarter of the run", "object store, MB", "driver, MB", "all workers, MB")
    text = f"{drawn:,} rows drawn at {steps} steps in {seconds / 60:.1f} minutes; the peaks:"
    return f"{text}\n\n{table(head, rows)}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.batch_memory", description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000, help="20000")
    parser.add_argument("--steps", type=int, default=2, help="2")
    parser.add_argument("--dry", action="store_true", help="only print what would be written")
    arguments = parser.parse_args()
    with TemporaryDirectory() as folder:
        tally, looks = measure(Path(folder), arguments.rows, arguments.steps)
    text = markdown(looks, tally.drawn, arguments.steps, looks[-1].seconds)
    print(text)
    if not arguments.dry:
        figures = {"drawn": tally.drawn, "looks": [asdict(look) for look in looks]}
        publish("batch_memory", figures, text, DOCUMENT)


if __name__ == "__main__":
    main()

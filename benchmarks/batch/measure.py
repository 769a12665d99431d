"""Measures one load on one peer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from batch.inputs.row_preparer import RowPreparer
from batch.outputs.output_folder import OutputFolder
from batch.run import service_settings
from benchmarks.batch.plain_pipeline import PlainPipeline
from benchmarks.batch.prompts import (
    BATCH_ROWS,
    WARM_UP_ROWS,
    AwaitedFiles,
    benchmark_pipeline,
    measured_rows,
    warm_up_rows,
    write_prompts,
)
from benchmarks.batch.workers import PeakMemory, actor_cpu_seconds
from ray_stages.families.checkpoint import Checkpoint


@dataclass(frozen=True)
class Measurement:
    """One load on one peer.

    rate: pictures a second, from the moment when all actors had loaded and drawn until the last
    picture was written.
    cpu_seconds: CPU time of all actors in that time, for each picture. Other programs affect it
    less than they affect the rate.
    memory_mb: the peak of the workers' own memory.
    """

    load: str
    peer: str
    rate: float
    cpu_seconds: float
    memory_mb: float


def measure(load: str, peer: str, count: int) -> Measurement:
    """Draws warm-up rows, and then `count` rows, whose file appears when the warm-up is written."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        rest = folder / "rest.csv"
        write_prompts(folder / "first.csv", warm_up_rows(load))
        write_prompts(rest, islice(measured_rows(load), count))
        pipeline = benchmark_pipeline(folder)
        settings = service_settings(pipeline)
        preparer = RowPreparer.create(pipeline, settings, Checkpoint(settings).card)
        files = AwaitedFiles(**vars(preparer.files))
        held_back = rest.rename(folder / "held")
        output = OutputFolder.open(pipeline.output.path, "parquet")
        output.prepare({})
        with PeakMemory() as memory:
            written = draw(replace(preparer, files=files), output, peer)
            while next(written) < WARM_UP_ROWS:
                pass
            started, used = time.monotonic(), actor_cpu_seconds()
            held_back.rename(rest)
            while next(written) < WARM_UP_ROWS + count:
                pass
            ended, used = time.monotonic(), actor_cpu_seconds() - used
            assert next(written, None) is None
    return Measurement(load, peer, count / (ended - started), used / count, memory.peak_mb)


def draw(preparer: RowPreparer, output: OutputFolder, peer: str) -> Iterator[int]:
    """Draws all rows. Yields the number of written rows after each part."""
    from batch import dataflow
    from batch.inputs import reader
    from batch.key_digests import digest_keys

    context = reader.ReadContext(preparer, digest_keys([]))
    pipeline = preparer.pipeline
    if peer == "ours":
        outcomes = dataflow.build_dataflow(context, output)
    else:
        plain = reader.read_dataset(context, pipeline.block).map_batches(
            PlainPipeline,
            fn_constructor_args=(preparer.settings, peer == "plain_fast"),
            concurrency=1,
            batch_size=BATCH_ROWS,
            batch_format="pyarrow",
        )
        outcomes = dataflow.add_writer(plain, pipeline, output)
    written = 0
    parts = outcomes.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)
    for part in parts:
        assert set(part["status"].to_pylist()) == {"ok"}
        written += len(part)
        yield written

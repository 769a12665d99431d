"""A whole run: check the input, draw what is missing, write the summary."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import asdict
from typing import Any

from rich.console import Console

from batch.configuration.pipeline import Pipeline
from batch.inputs.input_check import InputCheck, check_input
from batch.inputs.row_preparer import RowPreparer
from batch.key_digests import KeyDigests
from batch.outputs.output_folder import OutputFolder
from batch.outputs.sample_sheet import write_sample_sheet
from batch.outputs.summary import RunSummary
from batch.plan import describe_plan
from batch.ray_cluster import ray_cluster
from ray_stages.errors import StageFailed
from ray_stages.families.checkpoint_files import examine
from ray_stages.settings import Settings

PROGRESS_SECONDS = 10.0
SHOWN_ROWS = 5


def run(pipeline: Pipeline, console: Console, *, dry_run: bool = False) -> RunSummary:
    """Draws all rows that are not yet in the output folder; a dry run only shows the plan.

    Raises InvalidRequest or ValueError before any work where the configuration or the input is
    wrong, and StageFailed where an operator failed. What is written by then stays.
    """
    from ray_stages.families.checkpoint import Checkpoint

    settings = service_settings(pipeline)
    examine(settings.model, settings.model_variant)
    preparer = RowPreparer.create(pipeline, settings, Checkpoint(settings).card)
    output = OutputFolder.open(pipeline.output.path, pipeline.output.pictures)
    output.check_settings(picture_settings(pipeline))
    written = output.written()
    check = check_input(preparer, written, SHOWN_ROWS)
    console.print(describe_plan(check, dry_run=dry_run), soft_wrap=True)
    summary = RunSummary(pipeline)
    if dry_run:
        return summary
    output.prepare(picture_settings(pipeline))
    output.remove(check.changed)
    if check.pending:
        with ray_cluster(pipeline, settings):
            _run_dataflow(check, written.versions, output, summary, console)
        write_sample_sheet(summary, output)
    console.print(summary.text(), soft_wrap=True)
    return summary


def service_settings(pipeline: Pipeline) -> Settings:
    """Returns the service's settings, with the model, device and precision of the pipeline."""
    draw = pipeline.draw
    chosen = {"MODEL": draw.model, "DEVICE": draw.device, "PRECISION": draw.precision}
    return Settings.from_env({**os.environ, **{name: v for name, v in chosen.items() if v}})


def picture_settings(pipeline: Pipeline) -> dict[str, Any]:
    """Returns every setting that decides what a picture looks like, by its name in messages."""
    sections: dict[str, Any] = {"draw": asdict(pipeline.draw)}
    del sections["draw"]["device"]
    if pipeline.enhance:
        sections["enhance"] = asdict(pipeline.enhance)
    named = {f"{s}.{name}": value for s, own in sections.items() for name, value in own.items()}
    return {"prompt": pipeline.prompt, "input.key": list(pipeline.input.key), **named}


def _run_dataflow(
    check: InputCheck,
    written: KeyDigests,
    output: OutputFolder,
    summary: RunSummary,
    console: Console,
) -> None:
    """Draws and writes all pending rows.

    On a terminal Ray Data shows its own progress bars; elsewhere a line is printed now and then.
    """
    from ray.exceptions import RayError

    from batch.dataflow import build_dataflow
    from batch.inputs.reader import ReadContext

    printed = time.monotonic()
    try:
        dataflow = build_dataflow(ReadContext(check.preparer, written), output)
        for outcomes in dataflow.iter_batches(batch_size=None, batch_format="pyarrow"):
            for outcome in outcomes.to_pylist():
                summary.add(outcome)
            if not sys.stdout.isatty() and time.monotonic() - printed > PROGRESS_SECONDS:
                printed = time.monotonic()
                console.print(summary.progress(check.pending), highlight=False)
    except RayError as error:
        raise StageFailed(_reason(error)) from error


def _reason(error: BaseException) -> str:
    """Returns the last line of the original error, without the worker's traceback."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    raised = [line for line in lines if "Error: " in line or "StageFailed: " in line]
    return (raised or lines or [type(error).__name__])[-1]

"""A run from its first look at the files to its summary."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import asdict
from typing import Any

from rich.console import Console

from batch.cluster import cluster
from batch.configuration.pipeline import Pipeline
from batch.inputs.input_check import Survey, survey
from batch.inputs.preparation import Preparation
from batch.key_digests import Digests
from batch.outputs.sample_sheet import write_sheet
from batch.outputs.summary import Tally
from batch.outputs.writer import Store
from batch.plan import plan
from ray_stages.errors import StageFailed
from ray_stages.settings import Settings

TELL_SECONDS = 10.0
SHOWN = 5


def run(pipeline: Pipeline, console: Console, *, dry: bool = False) -> Tally:
    """Raises InvalidRequest or ValueError before any work where something is not as it must be,
    and StageFailed where an operator failed; what is written by then stays.
    """
    from ray_stages.families.checkpoint import Checkpoint

    settings = settings_of(pipeline)
    preparation = Preparation.of(pipeline, settings, Checkpoint(settings).card)
    store = Store.open(pipeline.output.path, pipeline.output.pictures)
    store.check_same(looks(pipeline))
    written = store.written()
    found = survey(preparation, written, SHOWN)
    console.print(plan(found, dry=dry), soft_wrap=True)
    tally = Tally(pipeline)
    if dry:
        return tally
    store.begin(looks(pipeline))
    if found.left:
        with cluster(pipeline, settings):
            _draw(found, written, store, tally, console)
        write_sheet(tally, store)
    console.print(tally.summary(), soft_wrap=True)
    return tally


def settings_of(pipeline: Pipeline) -> Settings:
    """The service's own, save for what the pipeline says of the model."""
    draw = pipeline.draw
    said = {"MODEL": draw.model, "DEVICE": draw.device, "PRECISION": draw.precision}
    return Settings.from_env({**os.environ, **{name: v for name, v in said.items() if v}})


def looks(pipeline: Pipeline) -> dict[str, Any]:
    """What decides how a row's picture looks, by the names that messages give it."""
    sections: dict[str, Any] = {"draw": asdict(pipeline.draw)}
    del sections["draw"]["device"]
    if pipeline.enhance:
        sections["enhance"] = asdict(pipeline.enhance)
    named = {f"{s}.{name}": value for s, own in sections.items() for name, value in own.items()}
    return {"prompt": pipeline.prompt, "input.key": list(pipeline.input.key), **named}


def _draw(found: Survey, written: Digests, store: Store, tally: Tally, console: Console) -> None:
    """Ray Data's bars show how far it is; without a terminal a line now and then does."""
    from ray.exceptions import RayError

    from batch.dataflow import build
    from batch.inputs.reader import Work

    told = time.monotonic()
    try:
        flow = build(Work(found.preparation, written), store)
        for receipts in flow.iter_batches(batch_size=None, batch_format="pyarrow"):
            for receipt in receipts.to_pylist():
                tally.add(receipt)
            if not sys.stdout.isatty() and time.monotonic() - told > TELL_SECONDS:
                told = time.monotonic()
                console.print(tally.progress(found.left), highlight=False)
    except RayError as error:
        raise StageFailed(_reason(error)) from error


def _reason(error: BaseException) -> str:
    """The last line of what was raised, rather than the traceback of a worker."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    raised = [line for line in lines if "Error: " in line or "StageFailed: " in line]
    return (raised or lines or [type(error).__name__])[-1]

"""The chain of operators: a Ray Data set whose rows are computed while its end is read."""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import replace
from typing import Any

import ray
from ray.data import ActorPoolStrategy, DataContext, Dataset

from batch.configuration.options import OperatorOptions
from batch.configuration.pipeline import Pipeline
from batch.inputs import reader
from batch.inputs.row_preparer import RowPreparer
from batch.operators.actor import OperatorActor
from batch.operators.enhance import Enhance
from batch.operators.stages import Decode, Denoise, Encode, StageActor
from batch.outputs.output_folder import OutputFolder
from batch.outputs.writer import RecordWriter
from ray_stages.settings import Settings

BLOCK_BYTES = 16 * 1024**2
RESERVATION_RATIO = 0.01
STAGE_ACTORS: dict[str, type[StageActor]] = {one.name: one for one in (Encode, Denoise, Decode)}
# Each actor's share of one GPU, where the pipeline file does not say otherwise.
GPU_SHARES = {"enhance": 0.1, "encode": 0.1, "denoise": 0.6, "decode": 0.2}


def build_dataflow(context: reader.ReadContext, output: OutputFolder) -> Dataset:
    """Connects the reader, the operators and the writer.

    Returns a data set of outcomes (OUTCOME_SCHEMA). Nothing runs before they are read.
    """
    _set_data_context()
    preparer = context.preparer
    pipeline = preparer.pipeline
    dataflow = reader.read_dataset(context, pipeline.block)
    for name in pipeline.operator_names:
        options = with_default_gpus(name, pipeline.operator(name), preparer.settings)
        actor, arguments = actor_with_arguments(name, options, preparer)
        dataflow = dataflow.map_batches(
            actor, fn_constructor_args=arguments, **_map_options(options)
        )
    return add_writer(dataflow, pipeline, output)


def add_writer(dataflow: Dataset, pipeline: Pipeline, output: OutputFolder) -> Dataset:
    """Writes all rows into the output folder. Returns a data set of outcomes."""
    writer = RecordWriter(output)
    options = {"batch_size": pipeline.output.rows, "batch_format": "pyarrow", "num_cpus": 0.25}
    return dataflow.map_batches(writer.__call__, **options)


def _set_data_context() -> None:
    context = DataContext.get_current()
    context.target_max_block_size = BLOCK_BYTES
    # Ray Data reserves half of the memory for the operators by default. With many operators these
    # shares can exceed what there is: the writer, the last one, then starts when all is read.
    context.op_resource_reservation_ratio = RESERVATION_RATIO
    context.enable_progress_bars = sys.stdout.isatty()
    context.use_ray_tqdm = False  # plain tqdm shows the time left, Ray's own does not
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    logging.getLogger("ray.data._internal.progress").setLevel(logging.ERROR)


def with_default_gpus(name: str, options: OperatorOptions, settings: Settings) -> OperatorOptions:
    """Fills in `gpus` where the pipeline file leaves it open: the default share, or none."""
    if options.gpus >= 0:
        return options
    has_gpu = settings.device != "cpu" and ray.cluster_resources().get("GPU", 0) > 0
    return replace(options, gpus=GPU_SHARES[name] if has_gpu else 0)


def actor_with_arguments(
    name: str, options: OperatorOptions, preparer: RowPreparer
) -> tuple[type[OperatorActor], tuple[Any, ...]]:
    """Returns the actor class of an operator, and the arguments of its constructor."""
    settings = preparer.settings
    if not options.gpus:
        settings = settings.replace(device="cpu")
    if name == "enhance":
        threads = options.threads or max(1, (os.cpu_count() or 1) // options.concurrency)
        return Enhance, (preparer.pipeline.enhance, settings, preparer.card, threads)
    stage = STAGE_ACTORS[name].stage
    own: dict[str, Any] = {"replicas": options.concurrency}
    for setting in ("threads", "runtime"):
        if value := getattr(options, setting):
            own[setting] = value
    if name == "denoise" and options.max_rows:
        own["max_rows"] = options.max_rows
    stage_settings = getattr(settings, stage).model_copy(update=own)
    return STAGE_ACTORS[name], (settings.replace(**{stage: stage_settings}),)


def _map_options(options: OperatorOptions) -> dict[str, Any]:
    """Returns the keyword arguments of `Dataset.map_batches`."""
    pool = ActorPoolStrategy(
        size=options.concurrency,
        max_concurrent_calls_per_actor=options.overlap,
        max_tasks_in_flight_per_actor=options.overlap + 1,
        enable_true_multi_threading=options.overlap > 1,
    )
    where = {"accelerator_type": options.accelerator, "resources": dict(options.resources)}
    return {
        "compute": pool,
        "batch_size": options.batch_size,
        "batch_format": "pyarrow",
        "num_cpus": options.cpus,
        "num_gpus": options.gpus,
        **{name: value for name, value in where.items() if value},
    }

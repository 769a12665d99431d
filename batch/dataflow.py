"""The operators in a row: a Ray Data set that is computed while its end is read."""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import replace
from typing import Any

import ray
from ray.data import ActorPoolStrategy, DataContext, Dataset

from batch.configuration.pipeline import Operator, Pipeline
from batch.inputs import reader
from batch.inputs.preparation import Preparation
from batch.operators.actor import Station
from batch.operators.drawing import Decode, Denoise, Drawing, Encode
from batch.operators.enhancing import Enhancing
from batch.outputs.writer import Store, Writer
from ray_stages.settings import Settings

BLOCK_BYTES = 16 * 1024**2
RESERVED = 0.01
DRAWING: dict[str, type[Drawing]] = {one.name: one for one in (Encode, Denoise, Decode)}
# Of one GPU, where the operators share it and the file does not say otherwise.
GPU_SHARES = {"enhance": 0.1, "encode": 0.1, "denoise": 0.6, "decode": 0.2}


def build(work: reader.Work, store: Store) -> Dataset:
    """Nothing runs before somebody reads the receipts."""
    _set_context()
    preparation = work.preparation
    pipeline = preparation.pipeline
    flow = reader.dataset(work, pipeline.block)
    for name in pipeline.stations:
        operator = with_gpus(name, pipeline.operator(name), preparation.settings)
        kind, arguments = station_of(name, operator, preparation)
        flow = flow.map_batches(kind, fn_constructor_args=arguments, **_options(operator))
    return written(flow, pipeline, store)


def written(flow: Dataset, pipeline: Pipeline, store: Store) -> Dataset:
    """Its receipts."""
    writer = Writer(store)
    options = {"batch_size": pipeline.output.rows, "batch_format": "pyarrow", "num_cpus": 0.25}
    return flow.map_batches(writer.__call__, **options)


def _set_context() -> None:
    context = DataContext.get_current()
    context.target_max_block_size = BLOCK_BYTES
    # With Ray Data's own half, the operators' shares may add up to more than there is, and the last
    # of them, that writes, gets none until all is read.
    context.op_resource_reservation_ratio = RESERVED
    context.enable_progress_bars = sys.stdout.isatty()
    context.use_ray_tqdm = False  # tqdm itself tells the time left
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    logging.getLogger("ray.data._internal.progress").setLevel(logging.ERROR)


def with_gpus(name: str, operator: Operator, settings: Settings) -> Operator:
    if operator.gpus >= 0:
        return operator
    there = settings.device != "cpu" and ray.cluster_resources().get("GPU", 0) > 0
    return replace(operator, gpus=GPU_SHARES[name] if there else 0)


def station_of(
    name: str, operator: Operator, preparation: Preparation
) -> tuple[type[Station], tuple[Any, ...]]:
    """The operator's class, and what its actors are made with."""
    settings = preparation.settings
    if not operator.gpus:
        settings = replace(settings, device="cpu")
    if name == "enhance":
        threads = operator.threads or max(1, (os.cpu_count() or 1) // operator.concurrency)
        enhance = preparation.pipeline.enhance
        return Enhancing, (enhance, settings, preparation.card, threads)
    stage = DRAWING[name].stage
    own: dict[str, Any] = {f"{stage}_replicas": operator.concurrency}
    for setting in ("threads", "runtime"):
        if value := getattr(operator, setting):
            own[f"{stage}_{setting}"] = value
    if name == "denoise" and operator.max_rows:
        own["unet_max_rows"] = operator.max_rows
    return DRAWING[name], (replace(settings, **own),)


def _options(operator: Operator) -> dict[str, Any]:
    pool = ActorPoolStrategy(
        size=operator.concurrency,
        max_concurrent_calls_per_actor=operator.overlap,
        max_tasks_in_flight_per_actor=operator.overlap + 1,
        enable_true_multi_threading=operator.overlap > 1,
    )
    where = {"accelerator_type": operator.accelerator, "resources": dict(operator.resources)}
    return {
        "compute": pool,
        "batch_size": operator.batch_size,
        "batch_format": "pyarrow",
        "num_cpus": operator.cpus,
        "num_gpus": operator.gpus,
        **{name: value for name, value in where.items() if value},
    }

"""The Ray cluster of a run: a private one on this machine, or the one at RAY_ADDRESS."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

from batch.configuration.pipeline import Pipeline
from ray_stages.launcher.ray_environment import ray_environment
from ray_stages.settings import Settings

OBJECT_STORE_BYTES = 512 * 1024**2
SPARE_CPUS = 2  # for reading, cutting into blocks and writing


@contextlib.contextmanager
def ray_cluster(pipeline: Pipeline, settings: Settings) -> Iterator[None]:
    """Connects this process to Ray, and disconnects it at the end.

    A process that is connected already stays connected, and nothing is started or stopped.
    Otherwise the caller must not have imported Ray: Ray reads its environment on import.
    """
    if "ray" in sys.modules and sys.modules["ray"].is_initialized():
        yield
        return
    os.environ.update(ray_environment(settings))
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # Ray Data raises what fails
    import ray

    common: dict[str, Any] = {
        "namespace": "latent-relay-batch",
        "log_to_driver": False,
        "logging_level": logging.WARNING,
    }
    # Every user of the machine can read Ray's own folder. Only we can read the one around it.
    folder = tempfile.mkdtemp(prefix="relay-")
    try:
        if settings.ray_address:
            ray.init(settings.ray_address, **common)
        else:
            ray.init(
                address="local",
                include_dashboard=False,
                num_cpus=max(os.cpu_count() or 1, _needed_cpus(pipeline)),
                object_store_memory=OBJECT_STORE_BYTES,
                _temp_dir=f"{folder}/ray",
                **common,
            )
        yield
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def _needed_cpus(pipeline: Pipeline) -> int:
    operators = map(pipeline.operator, pipeline.operator_names)
    return SPARE_CPUS + math.ceil(sum(one.cpus * one.concurrency for one in operators))

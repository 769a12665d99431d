"""The Ray of a run: a private one on this machine, or the one at RAY_ADDRESS."""

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
def cluster(pipeline: Pipeline, settings: Settings) -> Iterator[None]:
    """Ray reads its environment when it is imported: nothing may have done that before.

    A Ray that this process has joined already is the one.
    """
    if "ray" in sys.modules and sys.modules["ray"].is_initialized():
        yield
        return
    os.environ.update(ray_environment(settings))
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what fails, Ray Data raises
    import ray

    common: dict[str, Any] = {
        "namespace": "latent-relay-batch",
        "log_to_driver": False,
        "logging_level": logging.WARNING,
    }
    # Ray opens its own folder to all users of the machine; the one around it is closed.
    folder = tempfile.mkdtemp(prefix="relay-")
    try:
        if settings.ray_address:
            ray.init(settings.ray_address, **common)
        else:
            ray.init(
                address="local",
                include_dashboard=False,
                num_cpus=max(os.cpu_count() or 1, _cpus(pipeline)),
                object_store_memory=OBJECT_STORE_BYTES,
                _temp_dir=f"{folder}/ray",
                **common,
            )
        yield
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def _cpus(pipeline: Pipeline) -> int:
    operators = map(pipeline.operator, pipeline.stations)
    return SPARE_CPUS + math.ceil(sum(one.cpus * one.concurrency for one in operators))

"""Waits until each stage of the cluster answers; the container of Triton runs this first.

The bridges could wait themselves. But tritonserver 2.51 asks a starting model once a second whether
it is ready, and on a busy machine the model's own answer was lost then (twice in eight starts).
"""

from __future__ import annotations

import ray
import tenacity
from ray import serve
from ray.serve.exceptions import RayServeException

from ray_stages.serving.generations import app_name, generation_registry
from ray_stages.settings import STAGES, Settings

RETRY_SECONDS = 1.0


class NothingServes(Exception):
    """No generation of the stages serves yet."""


def main() -> None:
    ray.init(Settings.from_env().ray_address, namespace="latent-relay", log_to_driver=False)
    # Without a limit: loading a large checkpoint, or finding a node for it, may take any time.
    waiting = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(
            (NothingServes, RayServeException, ray.exceptions.RayError)
        ),
        wait=tenacity.wait_fixed(RETRY_SECONDS),
    )
    waiting(_call_each_stage)


def _call_each_stage() -> None:
    generation = ray.get(generation_registry().current.remote())
    if not generation:
        raise NothingServes
    for stage in STAGES:
        app = app_name(stage, generation)
        serve.get_deployment_handle(stage, app_name=app).card.remote().result()


if __name__ == "__main__":
    main()

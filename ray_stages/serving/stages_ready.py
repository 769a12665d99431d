"""Returns when each stage of the cluster answers: what a Triton waits for before it starts.

Its bridges could wait themselves, but tritonserver 2.51 asks a starting model once a second whether
it is ready, and on a busy machine an answer just then was lost (seen twice in eight starts).
"""

from __future__ import annotations

import ray
import tenacity
from ray import serve
from ray.serve.exceptions import RayServeException

from ray_stages.serving.generations import app_name, registry
from ray_stages.settings import STAGES, Settings

RETRY_SECONDS = 1.0


class NotYet(Exception):
    """No generation of the stages serves."""


def main() -> None:
    ray.init(Settings.from_env().ray_address, namespace="latent-relay", log_to_driver=False)
    # There is no limit: to load a large checkpoint, or to find a node for it, takes what it takes.
    waiting = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(
            (NotYet, RayServeException, ray.exceptions.RayError)
        ),
        wait=tenacity.wait_fixed(RETRY_SECONDS),
    )
    waiting(_ask)


def _ask() -> None:
    generation = ray.get(registry().current.remote())
    if not generation:
        raise NotYet
    for stage in STAGES:
        app = app_name(stage, generation)
        serve.get_deployment_handle(stage, app_name=app).card.remote().result()


if __name__ == "__main__":
    main()

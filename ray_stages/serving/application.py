"""The stages on a Ray cluster: one Serve application each, of one generation."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import ray
from ray import serve
from ray.serve.schema import LoggingConfig

from ray_stages.serving.deployments import Decoding, Denoising, Encoding, TextEncoding
from ray_stages.serving.generations import app_name, name_of
from ray_stages.settings import STAGES, Settings

# Of one GPU, where a stage shares it with the others and settings do not say otherwise.
GPU_SHARES = {"text_encoder": 0.1, "unet": 0.6, "vae_decoder": 0.2, "vae_encoder": 0.1}
SCALE_LOOK_SECONDS = 2.0
HEALTH_SECONDS = 10.0
LIVING = ("DEPLOYING", "RUNNING", "UNHEALTHY")

DEPLOYMENTS: dict[str, Any] = {
    "text_encoder": TextEncoding,
    "unet": Denoising,
    "vae_decoder": Decoding,
    "vae_encoder": Encoding,
}


def application(stage: str, settings: Settings) -> Any:
    """One Serve application a stage, so that each starts and scales by itself."""
    resources = settings.resources(stage)
    gpus = resources.gpus
    if gpus < 0:
        on_gpu = settings.device != "cpu" and ray.cluster_resources().get("GPU", 0) > 0
        gpus = GPU_SHARES[stage] if on_gpu else 0
    options: dict[str, Any] = {
        **_scaling(stage, settings),
        # Roomy on purpose: the bridge counts what is in flight, the stage bounds its own batch.
        "max_ongoing_requests": 2 * settings.max_in_flight,
        "ray_actor_options": {"num_cpus": resources.cpus, "num_gpus": gpus},
        "health_check_period_s": 2,
        # Serve gives up a replica that has not answered three times.
        "health_check_timeout_s": HEALTH_SECONDS,
        "graceful_shutdown_timeout_s": settings.drain_seconds,
        "logging_config": LoggingConfig(log_level=settings.log_level, enable_access_log=False),
    }
    if settings.replicas_per_node:
        # Else a second replica of one stage may take the room of the only one of another.
        options["max_replicas_per_node"] = settings.replicas_per_node
    return DEPLOYMENTS[stage].options(**options).bind(settings.of_stages())


def _scaling(stage: str, settings: Settings) -> dict[str, Any]:
    resources = settings.resources(stage)
    if resources.max_replicas == resources.replicas:
        return {"num_replicas": resources.replicas}
    return {
        "autoscaling_config": {
            "min_replicas": resources.replicas,
            "max_replicas": resources.max_replicas,
            "target_ongoing_requests": resources.target_requests,
            "upscale_delay_s": settings.scale_up_seconds,
            "downscale_delay_s": settings.scale_down_seconds,
            "metrics_interval_s": SCALE_LOOK_SECONDS / 2,
            "look_back_period_s": SCALE_LOOK_SECONDS,
        }
    }


def build(arguments: Mapping[str, str]) -> Any:
    """For Serve's config files: `stage`, and whatever settings are not the environment's."""
    given = {name.upper(): str(value) for name, value in arguments.items()}
    return application(given.pop("STAGE"), Settings.from_env({**os.environ, **given}))


def deploy(settings: Settings) -> str:
    """Lets all stages load side by side, but for those that are there; returns their generation.

    No HTTP proxy: Triton is the front door.
    """
    serve.start(proxy_location="Disabled", logging_config=LoggingConfig(log_level="WARNING"))
    generation = name_of(settings)
    there = serve.status().applications
    targets = [
        serve.RunTarget(application(stage, settings), name=name, route_prefix=None)
        for stage in STAGES
        if (name := app_name(stage, generation)) not in there or there[name].status not in LIVING
    ]
    if targets:
        serve.run_many(targets, wait_for_applications_running=False)
    return generation


def delete(generation: str) -> None:
    """Those of its stages that are there."""
    there = serve.status().applications
    for name in (app_name(stage, generation) for stage in STAGES):
        if name in there:
            serve.delete(name)

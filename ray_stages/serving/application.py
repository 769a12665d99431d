"""The stages on a Ray cluster: one Serve application each, of one generation."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import ray
from ray import serve
from ray.serve.schema import LoggingConfig

from ray_stages.serving.deployments import (
    TextEncoderDeployment,
    UNetDeployment,
    VAEDecoderDeployment,
    VAEEncoderDeployment,
)
from ray_stages.serving.generations import app_name, generation_name
from ray_stages.settings import STAGES, Settings

# The stages' shares of one GPU, unless settings say otherwise.
GPU_SHARES = {"text_encoder": 0.1, "unet": 0.6, "vae_decoder": 0.2, "vae_encoder": 0.1}
AUTOSCALING_WINDOW_SECONDS = 2.0
HEALTH_TIMEOUT_SECONDS = 10.0
ACTIVE_STATUSES = ("DEPLOYING", "RUNNING", "UNHEALTHY")

DEPLOYMENTS: dict[str, Any] = {
    "text_encoder": TextEncoderDeployment,
    "unet": UNetDeployment,
    "vae_decoder": VAEDecoderDeployment,
    "vae_encoder": VAEEncoderDeployment,
}


def application(stage: str, settings: Settings) -> Any:
    """Returns the Serve application of one stage, so that each starts and scales by itself."""
    resources = settings.resources(stage)
    gpus = resources.gpus
    if gpus < 0:
        on_gpu = settings.device != "cpu" and ray.cluster_resources().get("GPU", 0) > 0
        gpus = GPU_SHARES[stage] if on_gpu else 0
    options: dict[str, Any] = {
        **_scaling(stage, settings),
        # Twice what can be in flight: the bridge limits that, and the stage limits its batch.
        "max_ongoing_requests": 2 * settings.max_in_flight,
        "ray_actor_options": {"num_cpus": resources.cpus, "num_gpus": gpus},
        "health_check_period_s": 2,
        # Serve replaces a replica after three failed checks.
        "health_check_timeout_s": HEALTH_TIMEOUT_SECONDS,
        "graceful_shutdown_timeout_s": settings.drain_seconds,
        "logging_config": LoggingConfig(log_level=settings.log_level, enable_access_log=False),
    }
    if settings.replicas_per_node:
        # Without this a second replica of one stage may take the CPUs of another stage's only one.
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
            "metrics_interval_s": AUTOSCALING_WINDOW_SECONDS / 2,
            "look_back_period_s": AUTOSCALING_WINDOW_SECONDS,
        }
    }


def build(arguments: Mapping[str, str]) -> Any:
    """Builds an application for Serve's config files.

    arguments: `stage`, and settings in lower case that override the environment.
    """
    given = {name.upper(): str(value) for name, value in arguments.items()}
    return application(given.pop("STAGE"), Settings.from_env({**os.environ, **given}))


def deploy(settings: Settings) -> str:
    """Starts loading all stages that do not run yet, concurrently; returns their generation.

    Serve's HTTP proxy is off, because clients call Triton.
    """
    serve.start(proxy_location="Disabled", logging_config=LoggingConfig(log_level="WARNING"))
    generation = generation_name(settings)
    applications = serve.status().applications
    active = {name for name, app in applications.items() if app.status in ACTIVE_STATUSES}
    targets = [
        serve.RunTarget(application(stage, settings), name=name, route_prefix=None)
        for stage in STAGES
        if (name := app_name(stage, generation)) not in active
    ]
    if targets:
        serve.run_many(targets, wait_for_applications_running=False)
    return generation


def delete(generation: str) -> None:
    """Deletes the stages of a generation."""
    applications = serve.status().applications
    for name in (app_name(stage, generation) for stage in STAGES):
        if name in applications:
            serve.delete(name)

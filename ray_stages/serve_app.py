"""The stages on a Ray cluster: one Serve application each."""

from __future__ import annotations

from typing import Any

import ray
from ray import serve
from ray.serve.schema import LoggingConfig

from ray_stages.deployments import Decoding, Denoising, Encoding, TextEncoding
from ray_stages.settings import STAGES, Settings

# Of one GPU, where a stage shares it with the others and settings do not say otherwise.
GPU_SHARES = {"text_encoder": 0.1, "unet": 0.6, "vae_decoder": 0.2, "vae_encoder": 0.1}

DEPLOYMENTS: dict[str, Any] = {
    "text_encoder": TextEncoding,
    "unet": Denoising,
    "vae_decoder": Decoding,
    "vae_encoder": Encoding,
}


def application(stage: str, settings: Settings) -> Any:
    """One Serve application a stage, so that each starts, scales and is upgraded by itself."""
    resources = settings.resources(stage)
    gpus = resources.gpus
    if gpus < 0:
        on_gpu = settings.device != "cpu" and ray.cluster_resources().get("GPU", 0) > 0
        gpus = GPU_SHARES[stage] if on_gpu else 0
    options: dict[str, Any] = {
        "num_replicas": resources.replicas,
        # Roomy on purpose: the bridge counts what is in flight, the stage bounds its own batch.
        "max_ongoing_requests": 2 * settings.max_in_flight,
        "ray_actor_options": {"num_cpus": resources.cpus, "num_gpus": gpus},
        "health_check_period_s": 2,
        "graceful_shutdown_timeout_s": settings.drain_seconds,
        "logging_config": LoggingConfig(log_level=settings.log_level, enable_access_log=False),
    }
    if settings.replicas_per_node:
        # Else a second replica of one stage may take the room of the only one of another.
        options["max_replicas_per_node"] = settings.replicas_per_node
    return DEPLOYMENTS[stage].options(**options).bind(settings)


def build(arguments: dict[str, str]) -> Any:
    """A Serve config file's `import_path`; `args` name the stage, the rest is the environment's."""
    return application(arguments["stage"], Settings.from_env())


def deploy(settings: Settings) -> None:
    """Lets all stages load side by side. No HTTP proxy: Triton is the front door."""
    serve.start(proxy_location="Disabled", logging_config=LoggingConfig(log_level="WARNING"))
    targets = [
        serve.RunTarget(application(stage, settings), name=stage, route_prefix=None)
        for stage in STAGES
    ]
    serve.run_many(targets, wait_for_applications_running=False)

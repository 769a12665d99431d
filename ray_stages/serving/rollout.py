"""Replaces the generation that serves: the new one loads beside it, then takes all new pictures.

To upgrade a running cluster, call `python -m ray_stages deploy` with the new settings or from the
new version's checkout.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import ray
from ray import serve
from rich.console import Console

from ray_stages.errors import StackFailed
from ray_stages.serving.application import delete, deploy
from ray_stages.serving.generations import (
    IDLE_SECONDS,
    app_name,
    generation_registry,
    serving_generations,
    stage_applications,
)
from ray_stages.settings import ROOT, STAGES, Settings

POLL_SECONDS = 1.0
RUNNING, FAILED = "RUNNING", "DEPLOY_FAILED"


class StageStatus(NamedTuple):
    """Serve's status of one stage's application; reason: the error, or "" if there is none."""

    stage: str
    status: str
    reason: str


def stage_statuses(generation: str) -> Iterator[StageStatus]:
    """Yields the status of each stage of the generation that Serve knows."""
    applications = serve.status().applications
    for stage in STAGES:
        if application := applications.get(app_name(stage, generation)):
            yield StageStatus(stage, str(application.status.value), _failure_reason(application))


def _failure_reason(application: Any) -> str:
    """Returns the last line of what a replica raised, without the traceback."""
    messages = [application.message, *(d.message for d in application.deployments.values())]
    lines = [line.strip() for message in messages for line in message.splitlines() if line.strip()]
    errors = [line for line in lines if "Error: " in line]
    return str((errors or lines or [""])[-1])


def can_go_live(generation: str) -> bool:
    """Returns whether all its replicas run, or one of each stage if nothing else serves."""
    return _is_running(generation) or serving_generations() == [generation]


def _is_running(generation: str) -> bool:
    return [status.status for status in stage_statuses(generation)] == [RUNNING] * len(STAGES)


def go_live(generation: str) -> None:
    """Sends all new pictures to the generation from now on."""
    ray.get(generation_registry().set_current.remote(generation))


def retire_others(generation: str, stopped: threading.Event) -> None:
    """Deletes every other generation once it has had no picture for IDLE_SECONDS."""
    others = {name for name, _ in stage_applications(serve.status().applications)} - {generation}
    while others and not stopped.wait(POLL_SECONDS):
        for other in list(others):
            if ray.get(generation_registry().idle_seconds.remote(other)) > IDLE_SECONDS:
                delete(other)
                others.remove(other)


def roll_out(settings: Settings, console: Console, stopped: threading.Event) -> None:
    """Deploys the stages; returns when they serve and every other generation is deleted.

    Raises StackFailed if they do not start; the old generation then serves on.
    """
    if not settings.ray_address:
        raise ValueError("RAY_ADDRESS is empty: host:port of the cluster's head is expected")
    ray.init(
        address=settings.ray_address,
        namespace="latent-relay",
        log_to_driver=False,
        runtime_env={"py_modules": [str(ROOT / "ray_stages")]},
    )
    generation = deploy(settings)
    with console.status(f"generation {generation} loads beside what serves …"):
        _wait_until_ready(generation, settings.start_seconds, stopped)
    go_live(generation)
    with console.status("pictures of the generation before are finished …"):
        retire_others(generation, stopped)
    console.print(f"generation {generation} serves")


def _wait_until_ready(generation: str, seconds: float, stopped: threading.Event) -> None:
    end = time.monotonic() + seconds
    while not can_go_live(generation):
        failed = [s for s in stage_statuses(generation) if s.status == FAILED]
        if failed or stopped.is_set() or time.monotonic() > end:
            delete(generation)
            reason = f"{failed[0].stage}: {failed[0].reason}" if failed else ""
            reason = reason or "stopped, or out of time"
            raise StackFailed(f"generation {generation} did not start: {reason}")
        stopped.wait(POLL_SECONDS)

"""A generation of the stages goes live: it loads beside the one before, then new pictures go to it.

An upgrade of a cluster that serves is `python -m ray_stages deploy`, with the new settings or from
the new version's checkout.
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
from ray_stages.serving.generations import IDLE_SECONDS, app_name, registry, serving, stages_of
from ray_stages.settings import ROOT, STAGES, Settings

LOOK_SECONDS = 1.0
RUNNING, FAILED = "RUNNING", "DEPLOY_FAILED"


class Status(NamedTuple):
    """reason: what went wrong, if anything did."""

    stage: str
    status: str
    reason: str


def statuses(generation: str) -> Iterator[Status]:
    """Of those of its stages that Serve knows."""
    applications = serve.status().applications
    for stage in STAGES:
        if application := applications.get(app_name(stage, generation)):
            yield Status(stage, str(application.status.value), _reason(application))


def _reason(application: Any) -> str:
    """The last line of what a replica raised, rather than its whole traceback."""
    messages = [application.message, *(d.message for d in application.deployments.values())]
    lines = [line.strip() for message in messages for line in message.splitlines() if line.strip()]
    raised = [line for line in lines if "Error: " in line]
    return str((raised or lines or [""])[-1])


def may_go_live(generation: str) -> bool:
    """All its replicas run; or one of each stage, where nothing else serves."""
    return _runs(generation) or serving() == [generation]


def _runs(generation: str) -> bool:
    return [status.status for status in statuses(generation)] == [RUNNING] * len(STAGES)


def go_live(generation: str) -> None:
    """From now on new pictures go to it."""
    ray.get(registry().switch.remote(generation))


def retire_others(generation: str, stopped: threading.Event) -> None:
    """Ends every other generation, each when it has had no picture in it for a while."""
    others = {name for name, _ in stages_of(serve.status().applications)} - {generation}
    while others and not stopped.wait(LOOK_SECONDS):
        for other in list(others):
            if ray.get(registry().idle_seconds.remote(other)) > IDLE_SECONDS:
                delete(other)
                others.remove(other)


def roll_out(settings: Settings, console: Console, stopped: threading.Event) -> None:
    """Returns when it serves and nothing else does. What does not start leaves all as it was."""
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
        _until_running(generation, settings.start_seconds, stopped)
    go_live(generation)
    with console.status("pictures of the generation before are finished …"):
        retire_others(generation, stopped)
    console.print(f"generation {generation} serves")


def _until_running(generation: str, seconds: float, stopped: threading.Event) -> None:
    end = time.monotonic() + seconds
    while not may_go_live(generation):
        failed = [s for s in statuses(generation) if s.status == FAILED]
        if failed or stopped.is_set() or time.monotonic() > end:
            delete(generation)
            why = f"{failed[0].stage}: {failed[0].reason}" if failed else "stopped, or out of time"
            raise StackFailed(f"generation {generation} did not start: {why}")
        stopped.wait(LOOK_SECONDS)

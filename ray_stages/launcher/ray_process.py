"""The launcher's child that uses Ray: starts or joins a cluster, deploys the stages, watches them.

It sends events to the launcher as JSON lines on stdout; all other output goes to stderr.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
from typing import Any

import psutil
import ray

from ray_stages.cores import cores
from ray_stages.serving.application import delete, deploy
from ray_stages.serving.generations import generation_registry
from ray_stages.serving.rollout import can_go_live, go_live, retire_others, stage_statuses
from ray_stages.settings import STAGES, Settings

OBJECT_STORE_BYTES = 512 * 1024**2
WATCH_SECONDS = 1.0


def send_event(event: str, **facts: Any) -> None:
    print(json.dumps({"event": event, **facts}), file=EVENT_STREAM, flush=True)


def start_ray(settings: Settings, temp_dir: str) -> None:
    if settings.ray_address:
        ray.init(address=settings.ray_address, namespace="latent-relay")
        return
    needed = sum(r.max_replicas * r.cpus for r in map(settings.resources, STAGES))
    ray.init(
        address="local",
        namespace="latent-relay",
        include_dashboard=False,
        num_cpus=max(cores(), int(needed + 0.999)),
        object_store_memory=OBJECT_STORE_BYTES,
        _temp_dir=temp_dir,
    )


def undeploy(settings: Settings, generation: str) -> None:
    """Deletes this generation from a shared cluster, unless bridges of other stacks use it.

    A private cluster needs no deletion: it ends as a whole.
    """
    if settings.ray_address and not ray.get(generation_registry().bridge_count.remote()):
        delete(generation)


def watch(generation: str, stopped: threading.Event) -> None:
    """Sends an event for each change of a stage's status, and lets the generation go live.

    Returns when `stopped` is set.
    """
    known: dict[str, str] = {}
    live = False
    while not stopped.wait(WATCH_SECONDS if live else 0.1):
        for stage, status, reason in stage_statuses(generation):
            if status != known.get(stage):
                known[stage] = status
                send_event("stage", stage=stage, status=status, message=reason)
        if not live and can_go_live(generation):
            live = True
            go_live(generation)
            retiring = threading.Thread(target=retire_others, args=(generation, stopped))
            retiring.daemon = True
            retiring.start()


def main(folder: str) -> None:
    """folder: a private folder for the files that Ray writes; it is removed at the end."""
    settings = Settings.from_env()
    stopped = threading.Event()
    try:
        start_ray(settings, f"{folder}/ray")
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, lambda *_: stopped.set())
        _exit_when_cluster_ends(stopped, folder)
        send_event("ray", address=ray.get_runtime_context().gcs_address)
        generation = deploy(settings)
        watch(generation, stopped)
        undeploy(settings, generation)
    finally:
        stopped.set()
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def _exit_when_cluster_ends(stopped: threading.Event, folder: str) -> None:
    """Ends this process when Ray's processes end: each call into Ray would block for a minute."""

    def ended(process: psutil.Process) -> None:
        if not stopped.is_set():
            shutil.rmtree(folder, ignore_errors=True)
            os._exit(1)

    cluster = [p for p in psutil.Process().children() if p.name() in ("gcs_server", "raylet")]
    threading.Thread(target=psutil.wait_procs, args=(cluster, None, ended), daemon=True).start()


if __name__ == "__main__":
    # Ray and its workers may print to stdout, which carries the events: give them stderr instead.
    EVENT_STREAM = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    main(sys.argv[1])

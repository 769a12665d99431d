"""The commands of a cluster's containers: `ray-head`, `ray-worker`, `triton` and `deploy`.

Each runs until it is told to stop or one of its processes ends. Unlike the launcher of a single
machine it restarts nothing: the container ends, and the orchestrator restarts the container.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from ray_stages.cores import cores
from ray_stages.errors import StackFailed
from ray_stages.launcher.child_process import start_child, stop_child
from ray_stages.launcher.heartbeat import record_heartbeat
from ray_stages.launcher.ports import Ports
from ray_stages.launcher.ray_node import RayNode, create_auth_token
from ray_stages.launcher.stack import STOP_SECONDS, WATCH_SECONDS
from ray_stages.launcher.triton_server import TritonServer
from ray_stages.settings import STAGES, Settings

FaultCheck = Callable[[], str | None]  # returns what is wrong, or None


def ray_head(settings: Settings, console: Console, stopped: threading.Event) -> None:
    """Runs the cluster's head and deploys the stages; no stage runs in this container."""
    create_auth_token()
    node = RayNode.create_head(_ray_log(settings))
    node.start()
    try:
        if _watch(settings, stopped, node.fault, until=node.has_started):
            _deploy(settings, node, stopped)
    finally:
        node.stop()


def _deploy(settings: Settings, node: RayNode, stopped: threading.Event) -> None:
    with tempfile.TemporaryDirectory(prefix="relay-") as folder:
        command = [sys.executable, "-m", "ray_stages.launcher.ray_process", folder]
        deployment = start_child(command, env={**os.environ, "RAY_ADDRESS": node.address})
        try:
            _watch(settings, stopped, node.fault, lambda: _deployment_fault(deployment))
        finally:
            stop_child(deployment, 0)  # the cluster ends as a whole: the stages need no deletion


def ray_worker(settings: Settings, console: Console, stopped: threading.Event) -> None:
    """Runs a node for replicas, with CPUs for at least one replica of each stage."""
    one_of_each = math.ceil(sum(settings.resources(stage).cpus for stage in STAGES))
    node = _start_node(settings, stopped, cpus=max(cores(), one_of_each))
    try:
        _watch(settings, stopped, node.fault)
    finally:
        node.stop()


def triton(settings: Settings, console: Console, stopped: threading.Event) -> None:
    """Runs tritonserver, and a Ray node without CPUs through which the bridges call the stages."""
    node = _start_node(settings, stopped, cpus=0)
    drain_file = settings.run_dir / "draining"
    server = TritonServer(settings, Ports.choose(settings), drain_file, sys.stdout.buffer)
    try:
        if not _wait_for_stages(settings, stopped, node):
            return
        server.start(dict(os.environ))
        if _watch(settings, stopped, node.fault, server.server_fault, until=server.is_ready):
            server.close_shared_memory()
            console.print("tritonserver is ready")
        _watch(settings, stopped, node.fault, server.fault)
        server.drain()
    finally:
        server.stop(STOP_SECONDS)
        node.stop()


def deploy(settings: Settings, console: Console, stopped: threading.Event) -> None:
    """Replaces the generation of the stages that serves by a new one."""
    # Imported here because Ray takes a second to import, and the other commands do not need it.
    from ray_stages.serving.rollout import roll_out

    roll_out(settings, console, stopped)


def _wait_for_stages(settings: Settings, stopped: threading.Event, node: RayNode) -> bool:
    """Returns True when the stages answer, False when told to stop."""
    if not _watch(settings, stopped, node.fault, until=node.has_started):
        return False
    waiting = start_child([sys.executable, "-m", "ray_stages.serving.stages_ready"])
    try:
        if not _watch(
            settings, stopped, node.fault, until=lambda: _has_ended(waiting), limited=False
        ):
            return False
    finally:
        stop_child(waiting, 0)
    if waiting.returncode:
        raise StackFailed("the stages could not be asked; the log above says why")
    return True


def _deployment_fault(deployment: subprocess.Popen[bytes]) -> str | None:
    return "the stages' deployment has ended" if _has_ended(deployment) else None


def _has_ended(child: subprocess.Popen[bytes]) -> bool:
    return child.poll() is not None


def _start_node(settings: Settings, stopped: threading.Event, cpus: int) -> RayNode:
    """Starts a node that joins the cluster at RAY_ADDRESS.

    Raises ValueError if that is empty, TimeoutError if the head does not answer.
    """
    if not settings.ray_address:
        raise ValueError("RAY_ADDRESS is empty: host:port of the cluster's head is expected")
    node = RayNode(settings.ray_address, cpus, _ray_log(settings))
    node.wait_for_head(settings.start_seconds, stopped.is_set)
    node.start()
    return node


def _ray_log(settings: Settings) -> Path:
    return settings.run_dir / "ray-start.log"


def _watch(
    settings: Settings,
    stopped: threading.Event,
    *checks: FaultCheck,
    until: Callable[[], bool] | None = None,
    limited: bool = True,
) -> bool:
    """Returns True when `until` holds, False when told to stop; records heartbeats meanwhile.

    Raises StackFailed when a check finds a fault, or when `until` does not hold within
    START_SECONDS; `limited=False` waits without that limit.
    """
    end = time.monotonic() + settings.start_seconds
    while not (until and until()):
        if until and limited and time.monotonic() > end:
            raise StackFailed(f"not ready after START_SECONDS={settings.start_seconds}")
        for fault in filter(None, (check() for check in checks)):
            raise StackFailed(fault)
        record_heartbeat(settings)
        if stopped.wait(WATCH_SECONDS):
            return False
    return True


CONTAINER_COMMANDS = {
    "ray-head": ray_head,
    "ray-worker": ray_worker,
    "triton": triton,
    "deploy": deploy,
}

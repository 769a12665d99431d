"""What one container of a cluster does, until it is told to stop or a part of it has ended.

A part that ends takes its container along, and whoever runs the containers starts that afresh: here
nothing is brought back, as the launcher of a single machine does.
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
from ray_stages.launcher.heartbeat import beat
from ray_stages.launcher.ports import Ports
from ray_stages.launcher.ray_node import RayNode, make_token
from ray_stages.launcher.stack import STOP_SECONDS, WATCH_SECONDS
from ray_stages.launcher.triton_server import TritonServer
from ray_stages.settings import STAGES, Settings

Fault = Callable[[], str | None]


def ray_head(settings: Settings, console: Console, stopped: threading.Event) -> None:
    """The cluster's head, and the stages' deployment; no stage runs here."""
    make_token()
    node = RayNode.of_head(_words(settings))
    node.start()
    try:
        if _watch(settings, stopped, node.fault, until=node.started):
            _deploy(settings, node, stopped)
    finally:
        node.stop()


def _deploy(settings: Settings, node: RayNode, stopped: threading.Event) -> None:
    with tempfile.TemporaryDirectory(prefix="relay-") as folder:
        command = [sys.executable, "-m", "ray_stages.launcher.ray_process", folder]
        stages = start_child(command, env={**os.environ, "RAY_ADDRESS": node.address})
        try:
            _watch(settings, stopped, node.fault, lambda: _ended(stages))
        finally:
            stop_child(stages, 0)  # the cluster ends as a whole: no time to take the stages down


def ray_worker(settings: Settings, console: Console, stopped: threading.Event) -> None:
    """A node for replicas, with room for one of each stage at least."""
    one_of_each = math.ceil(sum(settings.resources(stage).cpus for stage in STAGES))
    node = _join(settings, stopped, cpus=max(cores(), one_of_each))
    try:
        _watch(settings, stopped, node.fault)
    finally:
        node.stop()


def triton(settings: Settings, console: Console, stopped: threading.Event) -> None:
    """tritonserver, beside a node of its own for nothing but the bridges' calls."""
    node = _join(settings, stopped, cpus=0)
    drain_file = Path(settings.run_dir) / "draining"
    server = TritonServer(settings, Ports.choose(settings), drain_file, sys.stdout.buffer)
    try:
        if not _wait_for_stages(settings, stopped, node):
            return
        server.start(dict(os.environ))
        if _watch(settings, stopped, node.fault, server.ended, until=server.ready):
            console.print("tritonserver is ready")
        _watch(settings, stopped, node.fault, server.fault)
        server.drain()
    finally:
        server.stop(STOP_SECONDS)
        node.stop()


def deploy(settings: Settings, console: Console, stopped: threading.Event) -> None:
    """Puts another generation of the stages in the place of the one that serves."""
    # Imported here, because Ray takes a second to import and the other commands do without.
    from ray_stages.serving.rollout import roll_out

    roll_out(settings, console, stopped)


def _wait_for_stages(settings: Settings, stopped: threading.Event, node: RayNode) -> bool:
    """Whether they answer now; False when told to stop."""
    if not _watch(settings, stopped, node.fault, until=node.started):
        return False
    asking = start_child([sys.executable, "-m", "ray_stages.serving.stages_ready"])
    try:
        if not _watch(settings, stopped, node.fault, until=lambda: _over(asking), limited=False):
            return False
    finally:
        stop_child(asking, 0)
    if asking.returncode:
        raise StackFailed("the stages could not be asked; the log above says why")
    return True


def _ended(stages: subprocess.Popen[bytes]) -> str | None:
    return "the stages' deployment has ended" if _over(stages) else None


def _over(child: subprocess.Popen[bytes]) -> bool:
    return child.poll() is not None


def _join(settings: Settings, stopped: threading.Event, cpus: int) -> RayNode:
    if not settings.ray_address:
        raise ValueError("RAY_ADDRESS is empty: host:port of the cluster's head is expected")
    node = RayNode(settings.ray_address, cpus, _words(settings))
    node.wait_for_head(settings.start_seconds, stopped.is_set)
    node.start()
    return node


def _words(settings: Settings) -> Path:
    return Path(settings.run_dir) / "ray-start.log"


def _watch(
    settings: Settings,
    stopped: threading.Event,
    *faults: Fault,
    until: Callable[[], bool] | None = None,
    limited: bool = True,
) -> bool:
    """False when told to stop. StackFailed is a fault, or `until` not so within START_SECONDS."""
    end = time.monotonic() + settings.start_seconds
    while not (until and until()):
        if until and limited and time.monotonic() > end:
            raise StackFailed(f"not ready after START_SECONDS={settings.start_seconds}")
        for fault in filter(None, (look() for look in faults)):
            raise StackFailed(fault)
        beat(settings)
        if stopped.wait(WATCH_SECONDS):
            return False
    return True


ROLES = {"ray-head": ray_head, "ray-worker": ray_worker, "triton": triton, "deploy": deploy}

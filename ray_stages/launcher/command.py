"""Runs the stack of one machine, or one container of a cluster.

serve          runs the stack in the foreground until Ctrl-C or SIGTERM
exec -- CMD    runs CMD with the stack that serves already, or else with one of its own
ray-head       runs a cluster's head and deploys the stages
ray-worker     runs a Ray node for replicas in the cluster at RAY_ADDRESS
triton         runs tritonserver for the cluster at RAY_ADDRESS
deploy         replaces the stages at RAY_ADDRESS by stages with these settings
check PART     checks the health of this container's gateway, triton or node
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict

from rich.console import Console

from ray_stages.errors import StackFailed
from ray_stages.families.checkpoint_files import examine
from ray_stages.launcher.containers import CONTAINER_COMMANDS
from ray_stages.launcher.health_check import CHECKS
from ray_stages.launcher.ray_environment import without_proxy_on_loopback
from ray_stages.launcher.stack import Stack
from ray_stages.launcher.stack_file import RunningStack, StackFile
from ray_stages.settings import Settings

LOADS_MODEL = ("serve", "exec", "ray-head", "deploy")
READY = """\
ready
  open     {gateway}
  HTTP     http://{http}/v2/models/stable_diffusion
  gRPC     {grpc}
  metrics  http://{metrics}/metrics
  logs     {folder}
  try      .venv/bin/python client.py "a red circle" -o circle.png --url {grpc}
Ctrl-C drains and stops it."""


def serve(settings: Settings, console: Console) -> int:
    stack = Stack(settings, console, with_gateway=True)
    _on_stop_signals(stack.stopped.set)
    try:
        stack.start()
        running = stack.running
        ready = READY.format(folder=stack.folder, **asdict(running))
        console.print(ready, soft_wrap=True)
        stack.watch()
        console.print("draining: what was accepted is answered, new work is refused")
    finally:
        stack.stop()
    console.print("stopped")
    return 0


def execute(settings: Settings, console: Console, command: list[str]) -> int:
    """Runs a command with TRITON_GRPC and TRITON_HTTP set; returns its exit status."""
    with _running_stack(settings, console) as stack:
        environment = {
            **os.environ,
            "TRITON_GRPC": stack.grpc,
            "TRITON_HTTP": stack.http,
            "TRITON_TLS_CA": stack.tls_ca,
        }
        child = subprocess.Popen(command, env=environment)
        _on_stop_signals(child.terminate)
        return child.wait()


@contextlib.contextmanager
def _running_stack(settings: Settings, console: Console) -> Iterator[RunningStack]:
    """Yields the stack that serves this model already, or else a temporary one on free ports."""
    if running := StackFile(settings.run_dir).find(settings):
        console.print(f"using the stack that runs already, process {running.pid}")
        yield running
        return
    stack = Stack(settings.with_free_ports(), console)
    _on_stop_signals(stack.stopped.set)
    try:
        stack.start()
        threading.Thread(target=_watch, args=(stack,), daemon=True).start()
        yield stack.running
    finally:
        stack.stopped.set()
        with console.status("stopping …"):
            stack.stop()
    if not stack.restarts:
        stack.remove_logs()


def _watch(stack: Stack) -> None:
    """Ignores StackFailed: if the stack stays down, the command itself fails and reports it."""
    with contextlib.suppress(StackFailed):
        stack.watch()


def run_container(command: str, settings: Settings, console: Console) -> int:
    stopped = threading.Event()
    _on_stop_signals(stopped.set)
    settings.run_dir.mkdir(parents=True, exist_ok=True)
    CONTAINER_COMMANDS[command](settings, console, stopped)
    return 0


def _on_stop_signals(callback: Callable[[], None]) -> None:
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, lambda *_: callback())


def main() -> None:
    arguments = _parse()
    console = Console(stderr=True, highlight=False)
    without_proxy_on_loopback()
    try:
        settings = Settings.from_env()
        if arguments.command in LOADS_MODEL:
            for line in examine(settings.model, settings.model_variant):
                console.print(f"MODEL={settings.model}: {line}", soft_wrap=True)
        if arguments.command == "check":
            CHECKS[arguments.part](settings)
        elif arguments.command in CONTAINER_COMMANDS:
            sys.exit(run_container(arguments.command, settings, console))
        elif arguments.command == "serve":
            sys.exit(serve(settings, console))
        else:
            sys.exit(execute(settings, console, arguments.program))
    except (StackFailed, ValueError, OSError) as error:
        console.print(f"latent-relay: {error}", soft_wrap=True)
        sys.exit(1)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m ray_stages",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in ("serve", *CONTAINER_COMMANDS):
        commands.add_parser(name)
    commands.add_parser("exec").add_argument(
        "program", nargs=argparse.REMAINDER, metavar="-- CMD …"
    )
    commands.add_parser("check").add_argument("part", choices=CHECKS, metavar="PART")
    arguments = parser.parse_args()
    if arguments.command == "exec":
        if arguments.program[:1] == ["--"]:
            del arguments.program[0]
        if not arguments.program:
            parser.error("exec needs a command")
    return arguments

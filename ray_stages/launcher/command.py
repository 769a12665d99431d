"""The command line of one machine's stack, and of a container's part in a cluster.

serve          in the foreground, until Ctrl-C or SIGTERM
exec -- CMD    runs CMD against the stack that serves already, or one of its own
ray-head       a cluster's head, which deploys the stages
ray-worker     a node for replicas, at RAY_ADDRESS
triton         tritonserver, joined to RAY_ADDRESS
deploy         puts the stages, with these settings, in the place of those at RAY_ADDRESS
check PART     whether the gateway, triton or node of this container does its work
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
from pathlib import Path

from rich.console import Console

from ray_stages.errors import StackFailed
from ray_stages.launcher.containers import ROLES
from ray_stages.launcher.health_check import CHECKS
from ray_stages.launcher.stack import Stack
from ray_stages.launcher.stack_file import RunningStack, StackFile
from ray_stages.settings import Settings

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
    _on_signals(stack.stopped.set)
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
    """Returns the command's own exit status."""
    with _running_stack(settings, console) as stack:
        environment = {
            **os.environ,
            "TRITON_GRPC": stack.grpc,
            "TRITON_HTTP": stack.http,
            "TRITON_TLS_CA": stack.tls_ca,
        }
        child = subprocess.Popen(command, env=environment)
        _on_signals(child.terminate)
        return child.wait()


@contextlib.contextmanager
def _running_stack(settings: Settings, console: Console) -> Iterator[RunningStack]:
    """The stack that serves this model already, or one of our own on free ports for the while."""
    if running := StackFile(Path(settings.run_dir)).find(settings):
        console.print(f"using the stack that runs already, process {running.pid}")
        yield running
        return
    stack = Stack(settings.with_free_ports(), console)
    _on_signals(stack.stopped.set)
    try:
        stack.start()
        threading.Thread(target=_watch, args=(stack,), daemon=True).start()
        yield stack.running
    finally:
        stack.stopped.set()
        with console.status("stopping …"):
            stack.stop()
    if not stack.restarts:
        stack.forget()


def _watch(stack: Stack) -> None:
    """A stack that does not come back is the command's failure to tell."""
    with contextlib.suppress(StackFailed):
        stack.watch()


def play(role: str, settings: Settings, console: Console) -> int:
    stopped = threading.Event()
    _on_signals(stopped.set)
    Path(settings.run_dir).mkdir(parents=True, exist_ok=True)
    ROLES[role](settings, console, stopped)
    return 0


def _on_signals(act: Callable[[], None]) -> None:
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, lambda *_: act())


def main() -> None:
    arguments = _parse()
    console = Console(stderr=True, highlight=False)
    try:
        settings = Settings.from_env()
        if arguments.command == "check":
            CHECKS[arguments.part](settings)
        elif arguments.command in ROLES:
            sys.exit(play(arguments.command, settings, console))
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
    for name in ("serve", *ROLES):
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

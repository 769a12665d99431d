"""The command line of one machine's stack.

serve          in the foreground, until Ctrl-C or SIGTERM
exec -- CMD    runs CMD against the stack that serves already, or one of its own
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

from ray_stages.settings import Settings
from ray_stages.stack import Stack, StackFailed
from ray_stages.stack_file import RunningStack, StackFile

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


def _on_signals(act: Callable[[], None]) -> None:
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, lambda *_: act())


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m ray_stages",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve", help="serve in the foreground until Ctrl-C or SIGTERM")
    runner = commands.add_parser("exec", help="run a command against a stack")
    runner.add_argument("program", nargs=argparse.REMAINDER, metavar="-- CMD …")
    arguments = parser.parse_args()
    console = Console(stderr=True, highlight=False)
    try:
        settings = Settings.from_env()
        if arguments.command == "serve":
            sys.exit(serve(settings, console))
        program = arguments.program[1:] if arguments.program[:1] == ["--"] else arguments.program
        if not program:
            parser.error("exec needs a command")
        sys.exit(execute(settings, console, program))
    except (StackFailed, ValueError, OSError) as error:
        console.print(f"latent-relay: {error}", soft_wrap=True)
        sys.exit(1)

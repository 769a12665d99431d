"""One machine: starts Ray with the stages and tritonserver, watches them, and drains them in reverse.

    python -m ray_stages serve          in the foreground, until Ctrl-C or SIGTERM
    python -m ray_stages exec -- CMD    runs CMD against a stack: the one that serves already, or its own
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import secrets
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from rich.console import Console

from ray_stages.children import start_child, stop_child
from ray_stages.ports import Ports
from ray_stages.settings import ROOT, STAGES, Settings
from ray_stages.stack_file import RunningStack, StackFile
from ray_stages.triton_server import TritonServer

WATCH_SECONDS = 1.0
# A server with a dead stub cannot drain: requests inside it would wait for ever.
BROKEN_GRACE_SECONDS = 5.0
MAX_RESTARTS_A_MINUTE = 5


class StackFailed(Exception):
    """A part did not start, or keeps dying; the message says which and where its log is."""


class Stack:
    """Ray with the stages, then tritonserver; `console` is told what happens."""

    def __init__(self, settings: Settings, console: Console) -> None:
        self.settings = settings
        self.console = console
        self.ports = Ports.choose(settings)
        self.stopped = threading.Event()
        self.folder = Path(settings.run_dir) / str(os.getpid())
        self.folder.mkdir(parents=True, exist_ok=True)
        self.triton = TritonServer(settings, self.ports, self._log_of("triton"))
        self.ray: subprocess.Popen[str] | None = None
        self.events: queue.Queue[dict[str, Any]] = queue.Queue()
        self.file = StackFile(Path(settings.run_dir))
        self.restarts: list[float] = []
        self.environment = {**os.environ, **ray_environment(settings)}

    def start(self) -> None:
        begin = time.monotonic()
        with self.console.status("starting Ray …") as status:
            address = self._start_ray(status.update)
            self.console.print(f"  stages ready        {time.monotonic() - begin:5.1f} s")
            status.update("starting tritonserver …")
            self.triton.start({**self.environment, "RAY_ADDRESS": address})
            self._until(self._triton_ready, self.triton_fault)
            self.console.print(f"  tritonserver ready  {time.monotonic() - begin:5.1f} s")
        self.file.write(self.settings, self.ports)
        self.address = address

    def _start_ray(self, say: Any) -> str:
        """Returns the address of Ray once every stage runs."""
        command = [sys.executable, "-m", "ray_stages.ray_app"]
        log = self._log_of("ray")
        self.ray = start_child(
            command, env=self.environment, stdout=subprocess.PIPE, stderr=log, text=True
        )
        threading.Thread(target=self._read_events, args=(self.ray,), daemon=True).start()
        address, running = "", set()
        while len(running) < len(STAGES):
            event = self._next_event()
            if event["event"] == "ray":
                address = event["address"]
                say("loading the stages …")
            elif event["status"] == "RUNNING":
                running.add(event["stage"])
                say(f"loading the stages … {len(running)} of {len(STAGES)}")
            elif event["status"] == "DEPLOY_FAILED":
                raise StackFailed(f"stage {event['stage']}: {event['message']}")
        return address

    def _read_events(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout
        for line in process.stdout:
            self.events.put(json.loads(line))

    def _next_event(self) -> dict[str, Any]:
        end = time.monotonic() + self.settings.start_seconds
        while time.monotonic() < end and not self.stopped.is_set():
            try:
                return self.events.get(timeout=0.2)
            except queue.Empty:
                if fault := self.ray_fault():
                    raise StackFailed(fault) from None
        raise StackFailed("stopped while starting" if self.stopped.is_set() else "the stages took too long")

    def _until(self, ready: Any, fault: Any) -> None:
        end = time.monotonic() + self.settings.start_seconds
        while not ready():
            if problem := fault():
                raise StackFailed(problem)
            if self.stopped.is_set() or time.monotonic() > end:
                raise StackFailed("stopped while starting")
            time.sleep(0.1)

    def _triton_ready(self) -> bool:
        url = f"http://{_host(self.settings.bind)}:{self.ports.http}/v2/health/ready"
        try:
            with urllib.request.urlopen(url, timeout=2) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def ray_fault(self) -> str | None:
        ended = self.ray is None or self.ray.poll() is not None
        return f"Ray has ended; see {self.folder / 'ray.log'}" if ended else None

    def triton_fault(self) -> str | None:
        # While it starts, stubs appear one by one: only the server's own end is a fault then.
        process = self.triton.process
        ended = process is None or process.poll() is not None
        return f"tritonserver has ended; see {self.folder / 'triton.log'}" if ended else None

    def watch(self) -> None:
        """Until stopped: notices within a second or two what died, and brings it back."""
        while not self.stopped.wait(WATCH_SECONDS):
            while not self.events.empty():
                event = self.events.get()
                self.console.print(f"stage {event['stage']}: {event['status']} {event['message']}".rstrip())
            if fault := self.ray_fault():
                self._restart(fault, with_ray=True)
            elif fault := self.triton.fault():
                self._restart(fault, with_ray=False)

    def _restart(self, fault: str, *, with_ray: bool) -> None:
        now = time.monotonic()
        self.restarts = [*(t for t in self.restarts if now - t < 60), now]
        if len(self.restarts) > MAX_RESTARTS_A_MINUTE:
            raise StackFailed(f"{fault}; gave up after {MAX_RESTARTS_A_MINUTE} restarts within a minute")
        self.console.print(f"{fault}: bringing it back")
        self.triton.stop(BROKEN_GRACE_SECONDS)
        if with_ray:
            self._stop_ray()
            self.start()
            return
        self.triton.start({**self.environment, "RAY_ADDRESS": self.address})
        self._until(self._triton_ready, self.triton_fault)
        self.console.print(f"tritonserver is back after {time.monotonic() - now:.1f} s")

    def stop(self) -> None:
        """Triton first, so that what it accepted is answered by stages that still run."""
        self.file.remove()
        self.triton.stop(self.settings.drain_seconds + 5)
        self._stop_ray()

    def _stop_ray(self) -> None:
        if self.ray is not None:
            stop_child(self.ray, self.settings.drain_seconds)
            self.ray = None

    def _log_of(self, part: str) -> IO[bytes]:
        if self.settings.log_to == "stdout":
            return sys.stdout.buffer
        return (self.folder / f"{part}.log").open("ab")


def ray_environment(settings: Settings) -> dict[str, str]:
    """What Ray and all that join it must agree on; a private Ray stays on loopback and has a key."""
    common = {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    if settings.ray_address:
        return common
    return {
        **common,
        # By its name for other systems, but on Linux too this is what makes Ray keep to 127.0.0.1.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
    }


@contextmanager
def running_stack(settings: Settings, console: Console) -> Iterator[RunningStack]:
    """The stack that serves this model already, or one of our own on free ports while the block runs."""
    if running := StackFile(Path(settings.run_dir)).find(settings):
        console.print(f"using the stack that runs already (process {running.pid})")
        yield running
        return
    stack = Stack(settings.with_free_ports(), console)
    stop_on_signals(stack)
    watcher = threading.Thread(target=stack.watch, daemon=True)
    try:
        stack.start()
        watcher.start()
        yield RunningStack.of(settings, stack.ports)
    finally:
        stack.stopped.set()
        with console.status("stopping …"):
            stack.stop()


def stop_on_signals(stack: Stack) -> None:
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, lambda *_: stack.stopped.set())


def serve(settings: Settings, console: Console) -> int:
    stack = Stack(settings, console)
    stop_on_signals(stack)
    try:
        stack.start()
        console.print(READY.format(host=_host(settings.bind), ports=stack.ports, folder=stack.folder))
        stack.watch()
        console.print("draining: what was accepted is answered, new work is refused")
    finally:
        stack.stop()
    console.print("stopped")
    return 0


READY = """\
ready
  HTTP     http://{host}:{ports.http}/v2/models/stable_diffusion
  gRPC     {host}:{ports.grpc}
  metrics  http://{host}:{ports.metrics}/metrics
  logs     {folder}
  try      .venv/bin/python client.py "a red circle" -o circle.png --url {host}:{ports.grpc}
Ctrl-C stops it."""


def execute(settings: Settings, console: Console, command: list[str]) -> int:
    with running_stack(settings, console) as stack:
        environment = {**os.environ, "TRITON_GRPC": stack.grpc, "TRITON_HTTP": stack.http}
        return subprocess.run(command, env=environment, check=False).returncode


def _host(bind: str) -> str:
    return "127.0.0.1" if bind == "0.0.0.0" else bind


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m ray_stages", description=__doc__.splitlines()[0] if __doc__ else "")
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
        console.print(f"latent-relay: {error}")
        sys.exit(1)

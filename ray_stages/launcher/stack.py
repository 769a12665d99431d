"""One machine's stack, Ray with the stages and tritonserver: started, watched, drained."""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import tenacity
from rich.console import Console

from ray_stages.errors import StackFailed
from ray_stages.launcher.child_process import start_child, stop_child
from ray_stages.launcher.gateway_process import GatewayProcess
from ray_stages.launcher.ports import Ports
from ray_stages.launcher.progress import latest
from ray_stages.launcher.ray_environment import ray_environment
from ray_stages.launcher.stack_file import RunningStack, StackFile
from ray_stages.launcher.triton_server import TritonServer
from ray_stages.settings import STAGES, Settings

WATCH_SECONDS = 1.0
STOP_SECONDS = 10.0
START_ATTEMPTS = 5


class Stack:
    def __init__(self, settings: Settings, console: Console, *, with_gateway: bool = False) -> None:
        self.settings = settings
        self.console = console
        self.stopped = threading.Event()
        self.ports = Ports.choose(settings)
        self.folder = Path(settings.run_dir) / str(os.getpid())
        self.folder.mkdir(parents=True, exist_ok=True)
        self._environment = {**os.environ, **ray_environment(settings)}
        self._triton = TritonServer(
            settings, self.ports, self.folder / "draining", self._log_of("triton")
        )
        grpc = f"{settings.host}:{self.ports.grpc}"
        log = self._log_of("gateway") if with_gateway else None
        self._gateway = log and GatewayProcess(settings, grpc, log)
        self._ray: subprocess.Popen[str] | None = None
        self._ray_address = ""
        self._ray_folder = ""
        self._events: queue.Queue[dict[str, Any]] = queue.Queue()
        self._file = StackFile(Path(settings.run_dir))
        self.restarts = 0

    @property
    def running(self) -> RunningStack:
        gateway = self._gateway.address if self._gateway else ""
        return RunningStack.of(self.settings, self.ports, gateway)

    def start(self) -> None:
        begin = time.monotonic()
        if self._gateway and not self._gateway.start():
            raise StackFailed(f"the gateway does not start; {self.folder}/gateway.log says why")
        with self.console.status("starting Ray …") as status:
            self._start_ray(status.update)
            self.console.print(f"stages ready after {time.monotonic() - begin:.1f} s")
            status.update("starting tritonserver …")
            self._patiently(self._start_triton)
            self.console.print(f"tritonserver ready after {time.monotonic() - begin:.1f} s")
        self._file.write(self.running)

    def watch(self) -> None:
        """Until stopped: notices within a second or two what died, and brings it back."""
        while not self.stopped.wait(WATCH_SECONDS):
            while not self._events.empty():
                event = self._events.get()
                self.console.print(
                    f"{event['event']} {event.get('stage', '')} {event.get('status', '')}"
                )
            if fault := self._ray_fault():
                self._restart(fault, with_ray=True)
            elif fault := self._triton.fault():
                self._restart(fault, with_ray=False)
            if self._gateway and self._gateway.ended():
                self.restarts += 1
                self.console.print("the gateway has ended: bringing it back")
                self._gateway.start()

    def stop(self) -> None:
        """From the front to the back: what was accepted is answered by what still runs."""
        self._file.remove()
        if self._gateway:
            self._gateway.stop()
        if self._triton.fault() is None:
            self._triton.drain()
        self._triton.stop(STOP_SECONDS)
        self._stop_ray()

    def forget(self) -> None:
        """Removes the logs of a stack that nobody will ask about."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _restart(self, fault: str, *, with_ray: bool) -> None:
        """Raises StackFailed when nothing that is tried brings it back."""
        begin = time.monotonic()
        self.restarts += 1
        self.console.print(f"{fault}: bringing it back")
        self._patiently(lambda: self._bring_back(with_ray))
        self.console.print(f"back after {time.monotonic() - begin:.1f} s")

    def _bring_back(self, with_ray: bool) -> None:
        self._triton.stop(STOP_SECONDS)
        if with_ray or self._ray_fault():
            self._stop_ray()
            self._start_ray(lambda text: None)
        self._start_triton()

    def _patiently(self, start: Callable[[], None]) -> None:
        """On a busy machine, tritonserver may end while its stubs start, in a lock of its own."""
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(self._may_still_start),
            stop=tenacity.stop_after_attempt(START_ATTEMPTS),
            wait=tenacity.wait_exponential(max=10),
            before_sleep=self._say_why_again,
            reraise=True,
        )
        retrying(start)

    def _may_still_start(self, error: BaseException) -> bool:
        return isinstance(error, Exception) and not self.stopped.is_set()

    def _say_why_again(self, state: tenacity.RetryCallState) -> None:
        why = state.outcome and state.outcome.exception()
        self.console.print(f"{why}; trying again", soft_wrap=True)

    def _start_ray(self, say: Callable[[str], None]) -> None:
        """Returns once every stage runs."""
        # Ray opens its own folder to all users of the machine; the one around it is closed.
        self._ray_folder = tempfile.mkdtemp(prefix="relay-")
        self._ray = start_child(
            [sys.executable, "-m", "ray_stages.launcher.ray_process", self._ray_folder],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=self._log_of("ray"),
            text=True,
        )
        self._events = queue.Queue()
        threading.Thread(target=_read_events, args=(self._ray, self._events), daemon=True).start()
        running: set[str] = set()

        def say_progress() -> None:
            doing = latest(self.folder / "ray.log")
            count = f"{len(running)} of {len(STAGES)}"
            say(f"loading the stages … {count}{doing and f' ({doing})'}")

        while len(running) < len(STAGES):
            self._until(lambda: not self._events.empty(), self._ray_fault, say_progress)
            event = self._events.get()
            if event["event"] == "ray":
                self._ray_address = event["address"]
            elif event["event"] == "stage" and event["status"] == "RUNNING":
                running.add(event["stage"])
            elif event["event"] == "stage" and event["status"] == "DEPLOY_FAILED":
                raise StackFailed(f"stage {event['stage']} did not start: {event['message']}")

    def _start_triton(self) -> None:
        self._triton.stop(STOP_SECONDS)  # what is left of an attempt before
        self._triton.start({**self._environment, "RAY_ADDRESS": self._ray_address})
        # While it starts, its stubs appear one by one: only the server's own end is a fault then.
        self._until(self._triton.ready, self._triton.ended)

    def _until(
        self,
        ready: Callable[[], bool],
        fault: Callable[[], str | None],
        meanwhile: Callable[[], None] = lambda: None,
    ) -> None:
        end = time.monotonic() + self.settings.start_seconds
        while not ready():
            if problem := fault():
                raise StackFailed(f"{problem}; the logs are in {self.folder}")
            if self.stopped.is_set():
                raise StackFailed("stopped while starting")
            if time.monotonic() > end:
                raise StackFailed(f"not ready after START_SECONDS={self.settings.start_seconds}")
            meanwhile()
            time.sleep(0.1)

    def _ray_fault(self) -> str | None:
        return "Ray has ended" if self._ray is None or self._ray.poll() is not None else None

    def _stop_ray(self) -> None:
        if self._ray is not None:
            stop_child(self._ray, STOP_SECONDS)
            self._ray = None
            shutil.rmtree(self._ray_folder, ignore_errors=True)

    def _log_of(self, part: str) -> IO[bytes]:
        if self.settings.log_to == "stdout":
            return sys.stdout.buffer
        return (self.folder / f"{part}.log").open("ab")


def _read_events(process: subprocess.Popen[str], events: queue.Queue[dict[str, Any]]) -> None:
    assert process.stdout
    for line in process.stdout:
        events.put(json.loads(line))

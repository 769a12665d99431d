"""The stack of one machine: Ray with the stages, tritonserver and the gateway."""

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
from typing import IO, Any

import tenacity
from rich.console import Console

from ray_stages.errors import StackFailed
from ray_stages.launcher.child_process import start_child, stop_child
from ray_stages.launcher.gateway_process import GatewayProcess
from ray_stages.launcher.leftovers import remove_leftovers
from ray_stages.launcher.ports import Ports
from ray_stages.launcher.progress import describe_progress
from ray_stages.launcher.ray_environment import ray_environment
from ray_stages.launcher.stack_file import RunningStack, StackFile
from ray_stages.launcher.triton_server import TritonServer
from ray_stages.settings import STAGES, Settings

WATCH_SECONDS = 1.0
STOP_SECONDS = 10.0
START_ATTEMPTS = 5


class Stack:
    """Starts the parts, restarts those that end, and stops them in order.

    stopped: set it to make `start` and `watch` return. restarts: how often a part was restarted.
    """

    def __init__(self, settings: Settings, console: Console, *, with_gateway: bool = False) -> None:
        self.settings = settings
        self.console = console
        self.stopped = threading.Event()
        self.ports = Ports.choose(settings)
        self.folder = settings.run_dir / str(os.getpid())
        self.folder.mkdir(parents=True, exist_ok=True)
        self._environment = {**os.environ, **ray_environment(settings)}
        self._triton = TritonServer(
            settings, self.ports, self.folder / "draining", self._open_log("triton")
        )
        grpc = f"{settings.host}:{self.ports.grpc}"
        log = self._open_log("gateway") if with_gateway else None
        self._gateway = log and GatewayProcess(settings, grpc, log)
        self._ray: subprocess.Popen[str] | None = None
        self._ray_address = ""
        self._ray_folder = ""
        self._events: queue.Queue[dict[str, Any]] = queue.Queue()
        self._file = StackFile(settings.run_dir)
        self.restarts = 0

    @property
    def running(self) -> RunningStack:
        gateway = self._gateway.address if self._gateway else ""
        return RunningStack.of(self.settings, self.ports, gateway)

    def start(self) -> None:
        """Returns when every part answers. Raises StackFailed if one does not."""
        begin = time.monotonic()
        remove_leftovers()
        if self._gateway and not self._gateway.start():
            raise StackFailed(f"the gateway does not start{self._last_words('gateway')}")
        with self.console.status("starting Ray …") as status:
            self._start_ray(status.update)
            self.console.print(f"stages ready after {time.monotonic() - begin:.1f} s")
            status.update("starting tritonserver …")
            self._with_retries(self._start_triton)
            self.console.print(f"tritonserver ready after {time.monotonic() - begin:.1f} s")
        self._file.write(self.running)

    def watch(self) -> None:
        """Restarts, within a second or two, every part that ends. Returns when stopped."""
        while not self.stopped.wait(WATCH_SECONDS):
            while not self._events.empty():
                event = self._events.get()
                self.console.print(
                    f"{event['event']} {event.get('stage', '')} {event.get('status', '')}"
                )
            if fault := self._ray_fault() or self._triton.fault():
                self._restart(fault)
            if self._gateway and self._gateway.has_ended():
                self.restarts += 1
                self.console.print("the gateway has ended: bringing it back")
                self._gateway.start()

    def stop(self) -> None:
        """Stops the parts from front to back, so that accepted requests are still answered."""
        self._file.remove()
        if self._gateway:
            self._gateway.stop()
        if self._triton.fault() is None:
            self._triton.drain()
        self._triton.stop(STOP_SECONDS)
        self._stop_ray()

    def remove_logs(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _restart(self, fault: str) -> None:
        """Raises StackFailed if the last attempt fails too."""
        begin = time.monotonic()
        self.restarts += 1
        self.console.print(f"{fault}: bringing it back")
        self._with_retries(self._start_again)
        self.console.print(f"back after {time.monotonic() - begin:.1f} s")

    def _start_again(self) -> None:
        """A Ray that runs stays, so that another try of tritonserver need not wait for stages."""
        self._triton.stop(STOP_SECONDS)
        if self._ray_fault():
            self._stop_ray()
            try:
                self._start_ray(lambda text: None)
            except StackFailed:
                self._stop_ray()
                raise
        self._start_triton()

    def _with_retries(self, start: Callable[[], None]) -> None:
        """Calls `start` up to START_ATTEMPTS times.

        On a busy machine tritonserver may abort while its stubs start (boost's lock_exception).
        """
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(self._should_retry),
            stop=tenacity.stop_after_attempt(START_ATTEMPTS),
            wait=tenacity.wait_exponential(max=10),
            before_sleep=self._report_retry,
            reraise=True,
        )
        retrying(start)

    def _should_retry(self, error: BaseException) -> bool:
        return isinstance(error, Exception) and not self.stopped.is_set()

    def _report_retry(self, state: tenacity.RetryCallState) -> None:
        reason = state.outcome and state.outcome.exception()
        self.console.print(f"{reason}; trying again", soft_wrap=True)

    def _start_ray(self, report: Callable[[str], None]) -> None:
        """Returns when every stage runs; calls `report` with the progress until then."""
        # Ray makes its own folder readable for all users; the folder around it is private.
        self._ray_folder = tempfile.mkdtemp(prefix="relay-")
        self._ray = start_child(
            [sys.executable, "-m", "ray_stages.launcher.ray_process", self._ray_folder],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=self._open_log("ray"),
            text=True,
        )
        self._events = queue.Queue()
        threading.Thread(target=_read_events, args=(self._ray, self._events), daemon=True).start()
        running: set[str] = set()

        def report_progress() -> None:
            doing = describe_progress(self.folder / "ray.log")
            count = f"{len(running)} of {len(STAGES)}"
            report(f"loading the stages … {count}{doing and f' ({doing})'}")

        while len(running) < len(STAGES):
            self._wait_until(lambda: not self._events.empty(), self._ray_fault, report_progress)
            event = self._events.get()
            if event["event"] == "ray":
                self._ray_address = event["address"]
            elif event["event"] == "stage" and event["status"] == "RUNNING":
                running.add(event["stage"])
            elif event["event"] == "stage" and event["status"] == "DEPLOY_FAILED":
                raise StackFailed(f"stage {event['stage']} did not start: {event['message']}")

    def _start_triton(self) -> None:
        self._triton.stop(STOP_SECONDS)  # what a failed attempt has left
        self._triton.start({**self._environment, "RAY_ADDRESS": self._ray_address})
        # The stubs appear one by one, so a missing stub is no fault during the start.
        self._wait_until(self._triton.is_ready, self._triton.server_fault)
        self._triton.close_shared_memory()

    def _wait_until(
        self,
        ready: Callable[[], bool],
        fault: Callable[[], str | None],
        meanwhile: Callable[[], None] = lambda: None,
    ) -> None:
        """Raises StackFailed on a fault, when stopped, or after START_SECONDS."""
        end = time.monotonic() + self.settings.start_seconds
        while not ready():
            if found := fault():
                raise StackFailed(f"{found}; the logs are in {self.folder}")
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

    def _last_words(self, part: str) -> str:
        """The last line of a part's log, and where the log is; "" where logs go to stdout."""
        if self.settings.log_to == "stdout":
            return ""
        path = self.folder / f"{part}.log"
        lines = path.read_text(errors="replace").split("\n") if path.exists() else []
        last = next((line for line in reversed(lines) if line.strip()), "it said nothing")
        return f": {last.strip()} (all of it in {path})"

    def _open_log(self, part: str) -> IO[bytes]:
        if self.settings.log_to == "stdout":
            return sys.stdout.buffer
        return (self.folder / f"{part}.log").open("ab")


def _read_events(process: subprocess.Popen[str], events: queue.Queue[dict[str, Any]]) -> None:
    assert process.stdout
    for line in process.stdout:
        events.put(json.loads(line))

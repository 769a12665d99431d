"""The base class of peers that run as child processes."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import time
from abc import abstractmethod
from collections.abc import Callable
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

import psutil

from benchmarks.peers.peer import Peer
from ray_stages.launcher.child_process import start_child, stop_child
from ray_stages.settings import ROOT, Settings

START_SECONDS = 300
STOP_SECONDS = 60


class PeerFailed(Exception):
    """A peer did not start; the message names its log."""


class ChildPeer(Peer):
    """Starts and stops a child process, whose log is in the stack's run folder."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.folder = ""
        self.log = settings.run_dir / f"bench-{self.key}.log"
        self.child: subprocess.Popen[Any] | None = None

    async def __aenter__(self) -> Peer:
        try:
            return await super().__aenter__()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        await self.close()
        if self.child is not None:
            await asyncio.to_thread(stop_child, self.child, STOP_SECONDS)
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    @abstractmethod
    async def close(self) -> None:
        """Closes the connections to the child."""

    def cpu_seconds(self) -> float:
        """Returns the CPU time of the child and all its descendants, in seconds."""
        assert self.child
        parent = psutil.Process(self.child.pid)
        total = 0.0
        for process in (parent, *parent.children(recursive=True)):
            try:
                used = process.cpu_times()
            except psutil.NoSuchProcess:
                continue
            total += used.user + used.system
        return total

    def spawn(self, command: list[str], **options: Any) -> None:
        """Starts `python -m COMMAND`. options: further arguments of Popen."""
        environment = {
            **os.environ,
            **options.pop("env", {}),
            "PYTHONPATH": str(ROOT),
            "RAY_USAGE_STATS_ENABLED": "0",
            # Its name speaks of other systems, but on Linux too it binds Ray to 127.0.0.1.
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        }
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            self.child = start_child(
                [sys.executable, "-m", *command],
                cwd=ROOT,
                env=environment,
                stdout=log,
                stderr=log,
                **options,
            )

    async def wait_until(self, ready: Callable[[], object]) -> None:
        """Waits for `ready`. Raises PeerFailed when the child ends before, or takes too long."""
        assert self.child
        end = time.monotonic() + START_SECONDS
        while not ready():
            if self.child.poll() is not None or time.monotonic() > end:
                raise PeerFailed(f"{self.label} did not start; {self.log} says why")
            await asyncio.sleep(0.05)

    async def spawn_with_pipe(self, module: str, *arguments: str) -> Connection:
        """Starts a module with a pipe. Returns our end once the child has sent that it is ready."""
        pipe, theirs = Pipe()
        descriptor = theirs.fileno()
        self.spawn([module, str(descriptor), *arguments], pass_fds=[descriptor])
        theirs.close()
        await self.wait_until(pipe.poll)
        try:
            pipe.recv()
        except EOFError:
            raise PeerFailed(f"{self.label} did not start; {self.log} says why") from None
        return pipe

"""Those that are measured as child processes, and how a wish reaches each."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from abc import abstractmethod
from collections.abc import Callable
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, ClassVar

import aiohttp
import psutil

from benchmarks.loads.clients import Answer, DrawFailed
from benchmarks.loads.workload import Wish
from benchmarks.peers.peer import Peer
from benchmarks.peers.pipeline import TIMES_HEADER, Times
from benchmarks.png import PNG
from ray_stages.launcher.child_process import start_child, stop_child
from ray_stages.settings import ROOT, Settings

START_SECONDS = 300
STOP_SECONDS = 60


class PeerFailed(Exception):
    """A peer did not start; the message says where its log is."""


class ChildPeer(Peer):
    """A child process; its log is in the stack's run folder."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.folder = ""
        self.log = Path(settings.run_dir) / f"bench-{self.key}.log"
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
        """Whatever was opened to talk to the child."""

    def cpu_seconds(self) -> float:
        """The child's and all its descendants'."""
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
        environment = {
            **os.environ,
            **options.pop("env", {}),
            "PYTHONPATH": str(ROOT),
            "RAY_USAGE_STATS_ENABLED": "0",
            # Named after other systems, but on Linux too it makes Ray keep to 127.0.0.1.
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

    async def until(self, ready: Callable[[], object]) -> None:
        """Returns when it is; PeerFailed when the child has ended, or takes too long."""
        assert self.child
        end = time.monotonic() + START_SECONDS
        while not ready():
            if self.child.poll() is not None or time.monotonic() > end:
                raise PeerFailed(f"{self.label} did not start; {self.log} says why")
            await asyncio.sleep(0.05)

    async def spawn_with_pipe(self, module: str, *arguments: str) -> Connection:
        """Returns our end when the child has said through it that it is ready."""
        pipe, theirs = Pipe()
        descriptor = theirs.fileno()
        self.spawn([module, str(descriptor), *arguments], pass_fds=[descriptor])
        theirs.close()
        await self.until(pipe.poll)
        try:
            pipe.recv()
        except EOFError:
            raise PeerFailed(f"{self.label} did not start; {self.log} says why") from None
        return pipe


class OneProcess(ChildPeer):
    """diffusers alone: whoever comes while it draws stands in line."""

    key = "one_process"
    label = "diffusers, one process"
    options: ClassVar[list[str]] = []

    async def start(self) -> None:
        self.turn = asyncio.Lock()
        self.pipe = await self.spawn_with_pipe("benchmarks.peers.one_process", *self.options)

    async def draw(self, wish: Wish) -> Answer:
        arrived = time.monotonic()
        async with self.turn:
            png, times = await asyncio.to_thread(self._ask, wish)
        return Answer(png, times.first_step, times.arriving(arrived).spans)

    def _ask(self, wish: Wish) -> tuple[bytes, Times]:
        try:
            self.pipe.send(wish)
            png, times = self.pipe.recv()
        except (EOFError, OSError) as error:
            raise DrawFailed(f"the process has ended ({error})") from error
        return png, times

    async def close(self) -> None:
        if hasattr(self, "pipe"):
            self.pipe.close()


class OneProcessFast(OneProcess):
    key = "one_process_fast"
    label = "diffusers, one process, our runtime"
    options: ClassVar[list[str]] = ["--fast"]


class ServeTemplate(ChildPeer):
    """Over HTTP, as its users do."""

    key = "serve"
    label = "Ray Serve template"
    options: ClassVar[list[str]] = []

    async def start(self) -> None:
        self.port = _free_port()
        self.folder = tempfile.mkdtemp(prefix="bench-")
        self.session = aiohttp.ClientSession(
            f"http://127.0.0.1:{self.port}",
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=None),
        )
        arguments = [self.folder, str(self.port), *self.options]
        (await self.spawn_with_pipe("benchmarks.peers.serve_process", *arguments)).close()

    async def draw(self, wish: Wish) -> Answer:
        query = {"prompt": wish.prompt, "steps": wish.steps, "seed": wish.seed}
        try:
            async with self.session.get("/imagine", params=query) as response:
                png = await response.read()
        except aiohttp.ClientError as error:
            raise DrawFailed(str(error)) from error
        if response.status != 200 or not png.startswith(PNG):
            raise DrawFailed(f"HTTP {response.status}: {png[:200]!r}")
        times = Times(**json.loads(response.headers[TIMES_HEADER]))
        return Answer(png, times.first_step, times.spans)

    async def close(self) -> None:
        await self.session.close()


class ServeBatch(ServeTemplate):
    key = "serve_batch"
    label = "Ray Serve, @serve.batch"
    options: ClassVar[list[str]] = ["--batched"]


class ServeBatchFast(ServeBatch):
    key = "serve_batch_fast"
    label = "Ray Serve, @serve.batch, our runtime"
    options: ClassVar[list[str]] = ["--batched", "--fast"]


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port

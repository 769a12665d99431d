"""Peers 2 and 3: Stable Diffusion on Ray Serve, over HTTP."""

from __future__ import annotations

import json
import socket
import tempfile
from typing import ClassVar

import aiohttp

from benchmarks.common.png import PNG
from benchmarks.load.loops import GenerationFailed, GenerationResult
from benchmarks.load.requests import GenerationRequest
from benchmarks.peers.child_peer import ChildPeer
from benchmarks.peers.diffusers_pipeline import TIMES_HEADER, Times


class ServeTemplate(ChildPeer):
    """The template of Ray's tutorial: one request at a time."""

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
        (await self.spawn_with_pipe("benchmarks.peers.serve_child", *arguments)).close()

    async def draw(self, request: GenerationRequest) -> GenerationResult:
        query = {"prompt": request.prompt, "steps": request.steps, "seed": request.seed}
        try:
            async with self.session.get("/imagine", params=query) as response:
                png = await response.read()
        except aiohttp.ClientError as error:
            raise GenerationFailed(str(error)) from error
        if response.status != 200 or not png.startswith(PNG):
            raise GenerationFailed(f"HTTP {response.status}: {png[:200]!r}")
        times = Times(**json.loads(response.headers[TIMES_HEADER]))
        return GenerationResult(png, times.first_step, times.spans)

    async def close(self) -> None:
        await self.session.close()


class ServeBatch(ServeTemplate):
    """The template with request-level batching."""

    key = "serve_batch"
    label = "Ray Serve, @serve.batch"
    options: ClassVar[list[str]] = ["--batched"]


class ServeBatchFast(ServeBatch):
    """The same with our runtime."""

    key = "serve_batch_fast"
    label = "Ray Serve, @serve.batch, our runtime"
    options: ClassVar[list[str]] = ["--batched", "--fast"]


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port

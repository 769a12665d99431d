"""A stub of the gateway for tests of the page: its jobs API, its page, and errors on demand."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles
from PIL import Image, ImageFilter
from PIL.PngImagePlugin import PngInfo

from ray_stages.stages.image_decoder import parameters_text
from tests.support.paths import ROOT
from training import world

PAGE = ROOT / "gateway" / "page"
POLICY = "default-src 'self'; img-src 'self' blob: data:"
ENDED = ("completed", "failed", "cancelled")
STOP_SECONDS = 3.0
POLL_SECONDS = 0.01


def draw_png(request: dict[str, Any], seed: int, noise: float = 0.0) -> bytes:
    """A PNG of the prompt's first colour and shape, with its parameters.

    noise: 0 for the finished picture, 1 for the first step.
    """
    words = [word.strip(",.") for word in str(request["prompt"]).split()]
    colours = [word for word in words if word in world.PALETTE] or ["blue"]
    shapes = [word for word in words if word in world.SHAPES] or [world.SHAPES[seed % 8]]
    background = colours[-1] if len(colours) > 1 else "white"
    thing = world.Object(shapes[0], colours[0], "large", 64.0, 64.0, 36.0 - seed % 7)
    image = world.draw(world.Scene(background, (thing,)))
    if noise:
        blurred = image.filter(ImageFilter.GaussianBlur(12 * noise))
        grain = Image.effect_noise(image.size, 90).convert("RGB")
        image = Image.blend(blurred, grain, noise / 2)
    if request.get("size", "auto") != "auto":
        width, height = map(int, request["size"].split("x"))
        image = image.resize((width, height))
    return png(image, request, seed)


def png(image: Image.Image, request: dict[str, Any], seed: int) -> bytes:
    """The image as a PNG with its parameters, as the stages write them."""
    parameters = {key: str(value) for key, value in request.items()} | {"seed": str(seed)}
    defaults = {"steps": "12", "guidance_scale": "3", "scheduler": "ddim"}
    text = parameters_text({**defaults, **parameters}, *image.size, "miniature-sd")
    info = PngInfo()
    info.add_text("parameters", text)
    file = io.BytesIO()
    image.save(file, "png", pnginfo=info)
    return file.getvalue()


@dataclass(eq=False)
class StubJob:
    """A job. version: counts its changes."""

    id: str
    request: dict[str, Any]
    status: str = "queued"
    position: int | None = 1
    step: int = 0
    error: dict[str, Any] | None = None
    pictures: list[tuple[int, bytes]] = field(default_factory=list)
    preview: bytes | None = None
    version: int = 0

    def as_json(self, steps: int) -> dict[str, Any]:
        url = f"/v1/jobs/{self.id}/images"
        return {
            "id": self.id,
            "object": "job",
            "status": self.status,
            "position": self.position,
            "step": self.step,
            "steps": steps,
            "created_at": 0,
            "expires_at": 3600,
            "data": [
                {"url": f"{url}/{i}", "seed": seed, "index": i}
                for i, (seed, _) in enumerate(self.pictures)
            ],
            "error": self.error,
        }


def error_response(status: int, message: str, code: str | None = None, after: int = 1) -> Response:
    error = {"message": message, "type": "server_error", "param": None, "code": code}
    headers = {"Retry-After": str(after)} if status in (429, 503) else {}
    return JSONResponse({"error": error}, status, headers)


class StubGateway:
    """A server on a real socket, whose attributes tell it what to do.

    A job waits in the queue for `leave_queue`, and before the step `hold_at` for `proceed`.
    """

    def __init__(self) -> None:
        self.model: dict[str, Any] = {"id": "miniature-sd", "object": "model"}
        self.draw: Callable[[dict[str, Any], int, float], bytes] = draw_png
        self.steps = 6
        self.step_seconds = 0.02
        self.hold_at = 1
        self.proceed = threading.Event()
        self.proceed.set()
        self.leave_queue = threading.Event()
        self.leave_queue.set()
        self.error_responses: list[Response] = []  # to the next POSTs
        self.job_error: dict[str, Any] | None = None  # of the next jobs
        self.key: str | None = None
        self.drop_stream_after: int | None = None  # after so many events, once
        self.jobs: dict[str, StubJob] = {}
        self.idempotency_keys: list[str] = []
        self._port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/"

    @property
    def requests(self) -> list[dict[str, Any]]:
        return [job.request for job in self.jobs.values()]

    def start(self) -> None:
        """Starts, after `stop` at the same port."""
        config = uvicorn.Config(self._app(), port=self._port, log_level="error", lifespan="off")
        self._server = uvicorn.Server(config)
        self._socket = config.bind_socket()
        self._port = self._socket.getsockname()[1]
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), daemon=True
        )
        self._thread.start()
        while not self._server.started:
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        self._server.force_exit = self._server.should_exit = True
        self._thread.join(STOP_SECONDS)
        self._socket.close()

    def _app(self) -> FastAPI:
        app = FastAPI()
        running: set[asyncio.Task[None]] = set()

        @app.middleware("http")
        async def check_key(request: Request, call_next: Any) -> Response:
            needed = self.key and request.url.path.startswith("/v1/")
            if needed and request.headers.get("authorization") != f"Bearer {self.key}":
                return error_response(401, "an API key is needed")
            response: Response = await call_next(request)
            response.headers["Content-Security-Policy"] = POLICY
            return response

        @app.get("/v1/models")
        async def models() -> Any:
            return {"object": "list", "data": [self.model]}

        @app.post("/v1/jobs")
        async def submit(request: Request) -> Any:
            self.idempotency_keys.append(request.headers["idempotency-key"])
            if self.error_responses:
                return self.error_responses.pop(0)
            job = StubJob(f"job-{len(self.jobs)}", await request.json())
            self.jobs[job.id] = job
            task = asyncio.create_task(self._draw(job))
            running.add(task)
            task.add_done_callback(running.discard)
            return JSONResponse(job.as_json(self.steps), 202)

        @app.get("/v1/jobs/{name}")
        async def poll(name: str) -> Any:
            if name not in self.jobs:
                return error_response(404, "no such job")
            return self.jobs[name].as_json(self.steps)

        @app.get("/v1/jobs/{name}/events")
        async def watch(name: str) -> Any:
            if name not in self.jobs:
                return error_response(404, "no such job")
            return StreamingResponse(self._events(self.jobs[name]), media_type="text/event-stream")

        @app.get("/v1/jobs/{name}/images/{index}")
        async def image(name: str, index: int) -> Any:
            return Response(self.jobs[name].pictures[index][1], media_type="image/png")

        @app.delete("/v1/jobs/{name}")
        async def cancel(name: str) -> Any:
            self.jobs[name].status = "cancelled"
            self.jobs[name].version += 1
            return self.jobs[name].as_json(self.steps)

        app.mount("/", StaticFiles(directory=PAGE, html=True))
        return app

    async def _draw(self, job: StubJob) -> None:
        request = job.request
        first = int(request.get("seed", 1000 + len(self.jobs)))
        while not self.leave_queue.is_set():
            await asyncio.sleep(POLL_SECONDS)
        if job.status == "queued":
            job.status, job.position = "running", None
        for step in range(1, self.steps + 1):
            while step == self.hold_at and not self.proceed.is_set():
                await asyncio.sleep(POLL_SECONDS)
            await asyncio.sleep(self.step_seconds)
            if job.status == "cancelled":
                return
            job.step = step
            job.preview = self.draw(request, first, 1 - step / self.steps)
            job.version += 1
        if self.job_error:
            job.status, job.error = "failed", self.job_error
        else:
            job.pictures = [
                (first + i, self.draw(request, first + i, 0.0)) for i in range(request["n"])
            ]
            job.status = "completed"
        job.version += 1

    async def _events(self, job: StubJob) -> AsyncIterator[str]:
        version, sent = -1, 0
        while version < 0 or job.status not in ENDED or version < job.version:
            if version < job.version:
                version, sent = job.version, sent + 1
                state = job.as_json(self.steps)
                if job.preview and job.status == "running":
                    state["preview"] = base64.b64encode(job.preview).decode()
                yield f"event: job\ndata: {json.dumps(state)}\n\n"
                if self.drop_stream_after == sent:
                    self.drop_stream_after = None
                    return
            await asyncio.sleep(POLL_SECONDS)

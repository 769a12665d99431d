"""A stand-in for the gateway: its API of jobs and its page, and whatever may go wrong."""

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
OVER = ("completed", "failed", "cancelled")
LONGEST_STOP = 3.0
TICK = 0.01


def drawing(wish: dict[str, Any], seed: int, fading: float = 0.0) -> bytes:
    """A PNG of what the prompt says, more or less, with its parameters.

    fading: 0 is the finished picture, 1 the beginning.
    """
    known = [word.strip(",.") for word in str(wish["prompt"]).split()]
    colours = [word for word in known if word in world.PALETTE] or ["blue"]
    shapes = [word for word in known if word in world.SHAPES] or [world.SHAPES[seed % 8]]
    background = colours[-1] if len(colours) > 1 else "white"
    thing = world.Object(shapes[0], colours[0], "large", 64.0, 64.0, 36.0 - seed % 7)
    image = world.draw(world.Scene(background, (thing,)))
    if fading:
        noise = Image.effect_noise(image.size, 90).convert("RGB")
        image = Image.blend(image.filter(ImageFilter.GaussianBlur(12 * fading)), noise, fading / 2)
    if wish.get("size", "auto") != "auto":
        width, height = map(int, wish["size"].split("x"))
        image = image.resize((width, height))
    return png(image, wish, seed)


def png(image: Image.Image, wish: dict[str, Any], seed: int) -> bytes:
    """With its parameters, as the stages write them."""
    parameters = {key: str(value) for key, value in wish.items()} | {"seed": str(seed)}
    defaults = {"steps": "12", "guidance_scale": "3", "scheduler": "ddim"}
    text = parameters_text({**defaults, **parameters}, *image.size, "miniature-sd")
    info = PngInfo()
    info.add_text("parameters", text)
    file = io.BytesIO()
    image.save(file, "png", pnginfo=info)
    return file.getvalue()


@dataclass(eq=False)
class Drawn:
    """A job."""

    id: str
    wish: dict[str, Any]
    status: str = "queued"
    position: int | None = 1
    step: int = 0
    error: dict[str, Any] | None = None
    pictures: list[tuple[int, bytes]] = field(default_factory=list)
    preview: bytes | None = None
    version: int = 0

    def told(self, steps: int) -> dict[str, Any]:
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


def refusal(status: int, message: str, code: str | None = None, after: int = 1) -> Response:
    error = {"message": message, "type": "server_error", "param": None, "code": code}
    headers = {"Retry-After": str(after)} if status in (429, 503) else {}
    return JSONResponse({"error": error}, status, headers)


class StubGateway:
    """A real server on a real socket; tests set what it shall do.

    It waits in front of the step `hold_at` for `go_on`, and in the queue for `admit`.
    """

    def __init__(self) -> None:
        self.model: dict[str, Any] = {"id": "miniature-sd", "object": "model"}
        self.paint: Callable[[dict[str, Any], int, float], bytes] = drawing
        self.steps = 6
        self.step_seconds = 0.02
        self.hold_at = 1
        self.go_on = threading.Event()
        self.go_on.set()
        self.admit = threading.Event()
        self.admit.set()
        self.refusals: list[Response] = []  # of the next POSTs
        self.failure: dict[str, Any] | None = None  # what the next jobs end with
        self.key: str | None = None
        self.streams_end_after: int | None = None  # events, once
        self.jobs: dict[str, Drawn] = {}
        self.idempotency_keys: list[str] = []
        self._port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/"

    @property
    def wishes(self) -> list[dict[str, Any]]:
        return [job.wish for job in self.jobs.values()]

    def start(self) -> None:
        """Again at the same port, after `stop`."""
        config = uvicorn.Config(self._app(), port=self._port, log_level="error", lifespan="off")
        self._server = uvicorn.Server(config)
        self._socket = config.bind_socket()
        self._port = self._socket.getsockname()[1]
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), daemon=True
        )
        self._thread.start()
        while not self._server.started:
            time.sleep(TICK)

    def stop(self) -> None:
        self._server.force_exit = self._server.should_exit = True
        self._thread.join(LONGEST_STOP)
        self._socket.close()

    def _app(self) -> FastAPI:
        app = FastAPI()
        running: set[asyncio.Task[None]] = set()

        @app.middleware("http")
        async def secured(request: Request, answer: Any) -> Response:
            wanted = self.key and request.url.path.startswith("/v1/")
            if wanted and request.headers.get("authorization") != f"Bearer {self.key}":
                return refusal(401, "an API key is needed")
            response: Response = await answer(request)
            response.headers["Content-Security-Policy"] = POLICY
            return response

        @app.get("/v1/models")
        async def models() -> Any:
            return {"object": "list", "data": [self.model]}

        @app.post("/v1/jobs")
        async def submit(request: Request) -> Any:
            self.idempotency_keys.append(request.headers["idempotency-key"])
            if self.refusals:
                return self.refusals.pop(0)
            job = Drawn(f"job-{len(self.jobs)}", await request.json())
            self.jobs[job.id] = job
            task = asyncio.create_task(self._draw(job))
            running.add(task)
            task.add_done_callback(running.discard)
            return JSONResponse(job.told(self.steps), 202)

        @app.get("/v1/jobs/{name}")
        async def look(name: str) -> Any:
            if name not in self.jobs:
                return refusal(404, "no such job")
            return self.jobs[name].told(self.steps)

        @app.get("/v1/jobs/{name}/events")
        async def watch(name: str) -> Any:
            if name not in self.jobs:
                return refusal(404, "no such job")
            return StreamingResponse(self._events(self.jobs[name]), media_type="text/event-stream")

        @app.get("/v1/jobs/{name}/images/{index}")
        async def image(name: str, index: int) -> Any:
            return Response(self.jobs[name].pictures[index][1], media_type="image/png")

        @app.delete("/v1/jobs/{name}")
        async def cancel(name: str) -> Any:
            self.jobs[name].status = "cancelled"
            self.jobs[name].version += 1
            return self.jobs[name].told(self.steps)

        app.mount("/", StaticFiles(directory=PAGE, html=True))
        return app

    async def _draw(self, job: Drawn) -> None:
        wish = job.wish
        first = int(wish.get("seed", 1000 + len(self.jobs)))
        while not self.admit.is_set():
            await asyncio.sleep(TICK)
        if job.status == "queued":
            job.status, job.position = "running", None
        for step in range(1, self.steps + 1):
            while step == self.hold_at and not self.go_on.is_set():
                await asyncio.sleep(TICK)
            await asyncio.sleep(self.step_seconds)
            if job.status == "cancelled":
                return
            job.step = step
            job.preview = self.paint(wish, first, 1 - step / self.steps)
            job.version += 1
        if self.failure:
            job.status, job.error = "failed", self.failure
        else:
            job.pictures = [(first + i, self.paint(wish, first + i, 0.0)) for i in range(wish["n"])]
            job.status = "completed"
        job.version += 1

    async def _events(self, job: Drawn) -> AsyncIterator[str]:
        seen, sent = -1, 0
        while seen < 0 or job.status not in OVER or seen < job.version:
            if seen < job.version:
                seen, sent = job.version, sent + 1
                told = job.told(self.steps)
                if job.preview and job.status == "running":
                    told["preview"] = base64.b64encode(job.preview).decode()
                yield f"event: job\ndata: {json.dumps(told)}\n\n"
                if self.streams_end_after == sent:
                    self.streams_end_after = None
                    return
            await asyncio.sleep(TICK)

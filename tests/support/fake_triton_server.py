"""A stand-in for Triton that speaks both of its protocols on real sockets."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
import numpy as np
from PIL import Image
from tritonclient.grpc import service_pb2, service_pb2_grpc

from relay_client.errors import PREFIXES
from tests.support.fake_triton_wire import (
    Arrays,
    Request,
    generate_request,
    grpc_answer,
    grpc_request,
    http_answer,
    http_request,
    sse_event,
)
from tests.support.paths import ROOT
from tests.support.pictures import encoded

PROGRAM = ROOT / "client.py"
HTTP_STATUS = {"INVALID_ARGUMENT": 400, "CANCELLED": 499, "INTERNAL": 500, "UNAVAILABLE": 503}


def png_of(seed: int) -> bytes:
    return encoded(Image.new("RGB", (16, 8), (seed % 256, 0, 0)))


class Refusal(Exception):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def coded(self) -> str:
        """As a stage words it for who asks for codes; UNKNOWN is Triton's own, before any stage."""
        if self.code == "UNKNOWN":
            return self.message
        told = PREFIXES.match(self.message)
        place = told.end() if told else 0
        return f"{self.message[:place]}[{self.code}] {self.message[place:]}"


class FakeTriton:
    """Draws a picture in the colour of its seed, after what it was told to do first.

    In a stream it waits in front of the step `hold_at` for `go_on`, and fails at `fail_at`.
    """

    def __init__(self, protocol: str, port: int = 0) -> None:
        self.seen: list[Request] = []
        self.cancelled: list[str] = []
        self.ended: dict[str, bool] = {}  # whether the client's call was still there at its end
        self.refusals: list[Refusal] = []
        self.fail_at: dict[int, Refusal] = {}
        self.hold_at = 1
        self.ends_early = False
        self.go_on = threading.Event()
        self.go_on.set()
        start = {"grpc": self._serve_grpc, "http": self._serve_http}[protocol]
        port, self.die = start(port)
        self.url = f"127.0.0.1:{port}"
        self.arguments = ["--url", self.url] + ["--http"] * (protocol == "http")

    def command(self, *arguments: str) -> list[str]:
        """client.py as a process of its own."""
        return [sys.executable, str(PROGRAM), *arguments, *self.arguments]

    def stop(self) -> None:
        self.go_on.set()
        self.die()

    def infer(self, request: Request) -> Arrays:
        if request.model == "cancel":
            self.cancelled.append(request.inputs["request_id"].values[0].decode())
            found = self.cancelled[-1] in {seen.id for seen in self.seen}
            return {"found": np.array([found])}
        assert request.model in ("stable_diffusion", "image_to_image")
        self.seen.append(request)
        self.go_on.wait()
        if self.refusals:
            raise self.refusals.pop(0)
        return self._draw(request)

    def stream(self, request: Request) -> Iterator[Arrays]:
        assert request.model == "stable_diffusion_stream"
        self.seen.append(request)
        if self.refusals:
            raise self.refusals.pop(0)
        steps, every = request.value("steps", 4), request.value("preview_every", 1)
        for step in range(1, steps + 1):
            if step == self.hold_at:
                self.go_on.wait()
            if step in self.fail_at:
                raise self.fail_at[step]
            if self.ends_early and step == steps:
                return
            if step % every == 0 or step == steps:
                progress = {
                    "step": np.array([step], np.int32),
                    "steps_used": np.array([steps], np.int32),
                    "is_final": np.array([step == steps]),
                }
                yield {**self._draw(request, fading=steps - step), **progress}

    def _draw(self, request: Request, fading: int = 0) -> Arrays:
        count = len(request.inputs["prompt"].values)
        seeds = request.inputs["seed"].values if "seed" in request.inputs else [41]
        seeds = seeds * count if len(seeds) == 1 else seeds
        known = {
            "image": np.array([png_of(seed + fading) for seed in seeds], np.object_),
            "seed_used": np.array(seeds, np.int64),
            "text_encoder_ms": np.array([0.5, 1.5], np.float32),
            "vae_encoder_ms": np.array([1.0, 3.0], np.float32),
            "unet_ms": np.array([2.0, 250.0], np.float32),
            "vae_decoder_ms": np.array([0.25, 12.0], np.float32),
            "intermediate_latents": np.arange(count * 8, dtype=np.float32).reshape(-1, 2, 1, 2, 2),
        }
        return {name: array for name, array in known.items() if name in request.outputs}

    def _serve_grpc(self, port: int) -> tuple[int, Callable[[], object]]:
        fake = self

        class Service(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
            def ModelInfer(self, message: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
                try:
                    drawn = fake.infer(grpc_request(message))
                    fake.ended[message.id] = context.is_active()
                    return grpc_answer(message, drawn)
                except Refusal as refusal:
                    context.abort(grpc.StatusCode[refusal.code], refusal.message)

            def ModelStreamInfer(  # noqa: N802
                self, messages: Iterator[Any], context: grpc.ServicerContext
            ) -> Iterator[Any]:
                # It ends a real one, now and then.
                assert "triton_grpc_error" not in dict(context.invocation_metadata())
                for message in messages:
                    assert message.parameters["error_codes"].bool_param
                    try:
                        for drawn in fake.stream(grpc_request(message)):
                            fake.ended[message.id] = context.is_active()
                            yield service_pb2.ModelStreamInferResponse(
                                infer_response=grpc_answer(message, drawn)
                            )
                    except Refusal as refusal:
                        yield service_pb2.ModelStreamInferResponse(error_message=refusal.coded)

            def ServerLive(self, message: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
                return service_pb2.ServerLiveResponse(live=True)

        server = grpc.server(ThreadPoolExecutor(16))
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Service(), server)
        port = server.add_insecure_port(f"127.0.0.1:{port}")
        server.start()
        return port, lambda: server.stop(None)

    def _serve_http(self, port: int) -> tuple[int, Callable[[], object]]:
        fake = self
        connections: list[socket.socket] = []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                connections.append(self.connection)
                *_, model, verb = self.path.split("/")
                assert self.path == f"/v2/models/{model}/{verb}"
                body = self.rfile.read(int(self.headers["Content-Length"]))
                answer = {"infer": self.infer, "generate_stream": self.generate_stream}[verb]
                answer(model, body)

            def infer(self, model: str, body: bytes) -> None:
                size = int(self.headers["Inference-Header-Content-Length"])
                try:
                    drawn = fake.infer(http_request(model, body[:size], body[size:]))
                except Refusal as refusal:
                    answer = json.dumps({"error": refusal.message}).encode()
                    self.respond(HTTP_STATUS[refusal.code], answer)
                else:
                    head, raw = http_answer(drawn)
                    self.respond(200, head + raw, len(head))

            def generate_stream(self, model: str, body: bytes) -> None:
                """As Triton does it: the first answer decides on the status."""
                begun = False
                try:
                    for drawn in fake.stream(generate_request(model, body)):
                        if not begun:
                            self.send_response(200)
                            self.send_header("Transfer-Encoding", "chunked")
                            self.end_headers()
                            begun = True
                        self.chunk(sse_event(drawn))
                except Refusal as refusal:
                    told = f"data: {json.dumps({'error': refusal.coded})}\n\n".encode()
                    if begun:
                        self.chunk(told)
                    else:
                        self.respond(HTTP_STATUS[refusal.code], told)
                if begun:
                    self.chunk(b"")

            def chunk(self, data: bytes) -> None:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
                self.wfile.flush()

            def respond(self, status: int, body: bytes, json_size: int | None = None) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                if json_size is not None:
                    self.send_header("Inference-Header-Content-Length", str(json_size))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_: object) -> None:
                """A client that has left is no news."""

        server = Server(("127.0.0.1", port), Handler)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()

        def die() -> None:
            server.shutdown()
            server.server_close()
            for connection in connections:
                with contextlib.suppress(OSError):  # closed before
                    connection.shutdown(socket.SHUT_RDWR)

        return server.server_port, die

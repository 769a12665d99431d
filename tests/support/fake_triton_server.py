"""A fake Triton that speaks gRPC and HTTP on real sockets."""

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


def png_of_seed(seed: int) -> bytes:
    return encoded(Image.new("RGB", (16, 8), (seed % 256, 0, 0)))


class TritonError(Exception):
    """An error that the fake answers with. code: the name of a gRPC status."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def message_with_code(self) -> str:
        """As a stage writes it for clients that ask for codes. UNKNOWN is Triton's own error."""
        if self.code == "UNKNOWN":
            return self.message
        prefix = PREFIXES.match(self.message)
        end = prefix.end() if prefix else 0
        return f"{self.message[:end]}[{self.code}] {self.message[end:]}"


class FakeTriton:
    """Answers with a plain picture in the colour of the seed, and records the requests.

    errors: what the next requests are answered with; fail_at: errors of a stream by step.
    A request waits for `proceed`, a stream only before the step `hold_at`.
    """

    def __init__(self, protocol: str, port: int = 0) -> None:
        self.requests: list[Request] = []
        self.cancelled_ids: list[str] = []
        self.client_present_at_end: dict[str, bool] = {}  # by id
        self.errors: list[TritonError] = []
        self.fail_at: dict[int, TritonError] = {}
        self.hold_at = 1
        self.ends_early = False
        self.proceed = threading.Event()
        self.proceed.set()
        start = {"grpc": self._serve_grpc, "http": self._serve_http}[protocol]
        port, self.kill = start(port)
        self.url = f"127.0.0.1:{port}"
        self.arguments = ["--url", self.url] + ["--http"] * (protocol == "http")

    def command(self, *arguments: str) -> list[str]:
        """client.py as a process of its own."""
        return [sys.executable, str(PROGRAM), *arguments, *self.arguments]

    def stop(self) -> None:
        self.proceed.set()
        self.kill()

    def infer(self, request: Request) -> Arrays:
        if request.model == "cancel":
            self.cancelled_ids.append(request.inputs["request_id"].values[0].decode())
            found = self.cancelled_ids[-1] in {request.id for request in self.requests}
            return {"found": np.array([found])}
        assert request.model in ("stable_diffusion", "image_to_image")
        self.requests.append(request)
        self.proceed.wait()
        if self.errors:
            raise self.errors.pop(0)
        return self._draw(request)

    def stream(self, request: Request) -> Iterator[Arrays]:
        assert request.model == "stable_diffusion_stream"
        self.requests.append(request)
        if self.errors:
            raise self.errors.pop(0)
        steps, every = request.value("steps", 4), request.value("preview_every", 1)
        for step in range(1, steps + 1):
            if step == self.hold_at:
                self.proceed.wait()
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
                yield {**self._draw(request, remaining=steps - step), **progress}

    def _draw(self, request: Request, remaining: int = 0) -> Arrays:
        count = len(request.inputs["prompt"].values)
        seeds = request.inputs["seed"].values if "seed" in request.inputs else [41]
        seeds = seeds * count if len(seeds) == 1 else seeds
        arrays = {
            "image": np.array([png_of_seed(seed + remaining) for seed in seeds], np.object_),
            "seed_used": np.array(seeds, np.int64),
            "text_encoder_ms": np.array([0.5, 1.5], np.float32),
            "vae_encoder_ms": np.array([1.0, 3.0], np.float32),
            "unet_ms": np.array([2.0, 250.0], np.float32),
            "vae_decoder_ms": np.array([0.25, 12.0], np.float32),
            "intermediate_latents": np.arange(count * 8, dtype=np.float32).reshape(-1, 2, 1, 2, 2),
        }
        return {name: array for name, array in arrays.items() if name in request.outputs}

    def _serve_grpc(self, port: int) -> tuple[int, Callable[[], object]]:
        fake = self

        class Service(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
            def ModelInfer(self, message: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
                try:
                    outputs = fake.infer(grpc_request(message))
                    fake.client_present_at_end[message.id] = context.is_active()
                    return grpc_answer(message, outputs)
                except TritonError as error:
                    context.abort(grpc.StatusCode[error.code], error.message)

            def ModelStreamInfer(  # noqa: N802
                self, messages: Iterator[Any], context: grpc.ServicerContext
            ) -> Iterator[Any]:
                # Such a call can crash a real Triton.
                assert "triton_grpc_error" not in dict(context.invocation_metadata())
                for message in messages:
                    assert message.parameters["error_codes"].bool_param
                    try:
                        for outputs in fake.stream(grpc_request(message)):
                            fake.client_present_at_end[message.id] = context.is_active()
                            yield service_pb2.ModelStreamInferResponse(
                                infer_response=grpc_answer(message, outputs)
                            )
                    except TritonError as error:
                        yield service_pb2.ModelStreamInferResponse(
                            error_message=error.message_with_code
                        )

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
                    outputs = fake.infer(http_request(model, body[:size], body[size:]))
                except TritonError as error:
                    answer = json.dumps({"error": error.message}).encode()
                    self.respond(HTTP_STATUS[error.code], answer)
                else:
                    head, raw = http_answer(outputs)
                    self.respond(200, head + raw, len(head))

            def generate_stream(self, model: str, body: bytes) -> None:
                """As in Triton, the first event decides on the HTTP status."""
                started = False
                try:
                    for outputs in fake.stream(generate_request(model, body)):
                        if not started:
                            self.send_response(200)
                            self.send_header("Transfer-Encoding", "chunked")
                            self.end_headers()
                            started = True
                        self.chunk(sse_event(outputs))
                except TritonError as error:
                    event = f"data: {json.dumps({'error': error.message_with_code})}\n\n".encode()
                    if started:
                        self.chunk(event)
                    else:
                        self.respond(HTTP_STATUS[error.code], event)
                if started:
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
                """Nothing to report: the client has disconnected."""

        server = Server(("127.0.0.1", port), Handler)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()

        def kill() -> None:
            server.shutdown()
            server.server_close()
            for connection in connections:
                with contextlib.suppress(OSError):  # already closed
                    connection.shutdown(socket.SHUT_RDWR)

        return server.server_port, kill

"""client.py against a stand-in for Triton that speaks both of its protocols on real sockets."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import grpc  # type: ignore[import-untyped]
import numpy as np
import pytest
import tenacity
from PIL import Image
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import (
    deserialize_bytes_tensor,
    np_to_triton_dtype,
    serialize_byte_tensor,
    triton_to_np_dtype,
)

from client import Client, Picture, RequestError, main

pytestmark = pytest.mark.timeout(60)

PROGRAM = Path(__file__).parent.parent / "client.py"
HTTP_STATUS = {"INVALID_ARGUMENT": 400, "CANCELLED": 499, "INTERNAL": 500, "UNAVAILABLE": 503}


def png_of(seed: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 8), (seed % 256, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def from_wire(datatype: str, raw: bytes) -> list[Any]:
    if datatype == "BYTES":
        return list(deserialize_bytes_tensor(raw).tolist())
    return list(np.frombuffer(raw, triton_to_np_dtype(datatype)).tolist())


def to_wire(array: np.ndarray[Any, Any]) -> bytes:
    if array.dtype == np.object_:
        return bytes(serialize_byte_tensor(array).item())
    return array.tobytes()


class Tensor(NamedTuple):
    datatype: str
    shape: list[int]
    values: list[Any]


class Request(NamedTuple):
    id: str
    timeout: int
    inputs: dict[str, Tensor]
    outputs: list[str]


class Refusal(Exception):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class FakeTriton:
    """Draws a picture in the colour of its seed, after what it was told to do first."""

    def __init__(self, protocol: str, port: int = 0) -> None:
        self.seen: list[Request] = []
        self.refusals: list[Refusal] = []
        self.go_on = threading.Event()
        self.go_on.set()
        start = {"grpc": self._serve_grpc, "http": self._serve_http}[protocol]
        port, self.die = start(port)
        self.url = f"127.0.0.1:{port}"
        self.arguments = ["--url", self.url] + ["--http"] * (protocol == "http")

    def draw(self, request: Request) -> dict[str, np.ndarray[Any, Any]]:
        self.seen.append(request)
        self.go_on.wait()
        if self.refusals:
            raise self.refusals.pop(0)
        count = len(request.inputs["prompt"].values)
        seeds = request.inputs["seed"].values if "seed" in request.inputs else [41]
        seeds = seeds * count if len(seeds) == 1 else seeds
        known = {
            "image": np.array([png_of(seed) for seed in seeds], np.object_),
            "seed_used": np.array(seeds, np.int64),
            "text_encoder_ms": np.array([0.5, 1.5], np.float32),
            "unet_ms": np.array([2.0, 250.0], np.float32),
            "vae_decoder_ms": np.array([0.25, 12.0], np.float32),
        }
        return {name: known[name] for name in request.outputs}

    def _serve_grpc(self, port: int) -> tuple[int, Callable[[], object]]:
        fake = self

        class Service(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
            def ModelInfer(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
                assert request.model_name == "stable_diffusion"
                inputs = {
                    tensor.name: Tensor(
                        tensor.datatype, list(tensor.shape), from_wire(tensor.datatype, raw)
                    )
                    for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True)
                }
                timeout = request.parameters["timeout"].int64_param
                outputs = [output.name for output in request.outputs]
                try:
                    drawn = fake.draw(Request(request.id, timeout, inputs, outputs))
                except Refusal as refusal:
                    context.abort(grpc.StatusCode[refusal.code], refusal.message)
                response = service_pb2.ModelInferResponse(model_name=request.model_name)
                for name, array in drawn.items():
                    datatype = np_to_triton_dtype(array.dtype)
                    response.outputs.add(name=name, datatype=datatype, shape=array.shape)
                    response.raw_output_contents.append(to_wire(array))
                return response

            def ServerLive(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
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
                assert self.path == "/v2/models/stable_diffusion/infer"
                body = self.rfile.read(int(self.headers["Content-Length"]))
                size = int(self.headers["Inference-Header-Content-Length"])
                head, rest = json.loads(body[:size]), body[size:]
                inputs = {}
                for tensor in head["inputs"]:
                    size = tensor["parameters"]["binary_data_size"]
                    values = from_wire(tensor["datatype"], rest[:size])
                    inputs[tensor["name"]] = Tensor(tensor["datatype"], tensor["shape"], values)
                    rest = rest[size:]
                assert all(output["parameters"]["binary_data"] for output in head["outputs"])
                outputs = [output["name"] for output in head["outputs"]]
                timeout = head["parameters"]["timeout"]
                try:
                    drawn = fake.draw(Request(head.get("id", ""), timeout, inputs, outputs))
                except Refusal as refusal:
                    answer = json.dumps({"error": refusal.message}).encode()
                    self.respond(HTTP_STATUS[refusal.code], answer)
                    return
                raws = {name: to_wire(array) for name, array in drawn.items()}
                described = [
                    {
                        "name": name,
                        "datatype": np_to_triton_dtype(array.dtype),
                        "shape": list(array.shape),
                        "parameters": {"binary_data_size": len(raws[name])},
                    }
                    for name, array in drawn.items()
                ]
                answer = json.dumps({"outputs": described}).encode()
                self.respond(200, answer + b"".join(raws.values()), len(answer))

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

    def stop(self) -> None:
        self.go_on.set()
        self.die()


@pytest.fixture(params=["grpc", "http"])
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def triton(protocol: str) -> Iterator[FakeTriton]:
    fake = FakeTriton(protocol)
    yield fake
    fake.stop()


@pytest.fixture
def client(triton: FakeTriton, protocol: str) -> Iterator[Client]:
    with Client(triton.url, http=protocol == "http") as client:
        yield client


@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, no addresses from outside, and short waits between tries."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRITON_GRPC", raising=False)
    monkeypatch.delenv("TRITON_HTTP", raising=False)
    monkeypatch.setattr(tenacity, "wait_random_exponential", lambda **_: tenacity.wait_fixed(0.05))
    return tmp_path


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_options_travel_with_name_type_and_shape(triton: FakeTriton, client: Client) -> None:
    client.generate(
        ["a red circle", "ein grüner Stern ✦"],
        negative_prompt="blur",
        seed=[7, 8],
        steps=12,
        guidance_scale=2.5,
        height=64,
        width=128,
        scheduler="ddim",
        request_id="tuesday",
    )
    [request] = triton.seen
    assert request.id == "tuesday"
    assert request.inputs == {
        "prompt": ("BYTES", [2], [b"a red circle", "ein grüner Stern ✦".encode()]),
        "negative_prompt": ("BYTES", [1], [b"blur"]),
        "seed": ("INT64", [2], [7, 8]),
        "steps": ("INT32", [1], [12]),
        "guidance_scale": ("FP32", [1], [2.5]),
        "height": ("INT32", [1], [64]),
        "width": ("INT32", [1], [128]),
        "scheduler": ("BYTES", [1], [b"ddim"]),
    }


def test_options_left_out_are_not_sent(triton: FakeTriton) -> None:
    assert main(["a red circle", *triton.arguments]) == 0
    assert list(triton.seen[0].inputs) == ["prompt"]


def test_zero_and_empty_are_values_not_absence(triton: FakeTriton, client: Client) -> None:
    client.generate("x", negative_prompt="", seed=0, guidance_scale=0.0)
    assert triton.seen[0].inputs["negative_prompt"].values == [b""]
    assert triton.seen[0].inputs["seed"].values == [0]
    assert triton.seen[0].inputs["guidance_scale"].values == [0.0]


def test_command_line_passes_every_option(triton: FakeTriton) -> None:
    options = "--negative-prompt blur --seed 7 --seed 8 --steps 12 --guidance-scale 2.5 --height 64"
    more = "--width 128 --scheduler ddim --request-id tuesday --timeout 60"
    assert main(["a", "b", *options.split(), *more.split(), *triton.arguments]) == 0
    [request] = triton.seen
    assert request.id == "tuesday"
    assert 59e6 < request.timeout <= 60e6
    assert {name: tensor.values for name, tensor in request.inputs.items()} == {
        "prompt": [b"a", b"b"],
        "negative_prompt": [b"blur"],
        "seed": [7, 8],
        "steps": [12],
        "guidance_scale": [2.5],
        "height": [64],
        "width": [128],
        "scheduler": [b"ddim"],
    }


def test_pictures_come_back_in_order(client: Client) -> None:
    pictures = client.generate(["a", "b", "c"], seed=[3, 1, 2])
    assert [(picture.prompt, picture.seed) for picture in pictures] == [
        ("a", 3),
        ("b", 1),
        ("c", 2),
    ]
    assert [picture.png for picture in pictures] == [png_of(3), png_of(1), png_of(2)]
    assert pictures[0].size == (16, 8)
    assert pictures[0].stages["unet"] == (2.0, 250.0)
    assert pictures[0].stages["unet"].compute_ms == 250.0


def test_threads_share_a_client(triton: FakeTriton, client: Client) -> None:
    def seed_and_png(seed: int) -> tuple[int, bytes]:
        [picture] = client.generate(f"picture {seed}", seed=seed)
        return picture.seed, picture.png

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(seed_and_png, range(64))) == [(n, png_of(n)) for n in range(64)]


def test_says_where_the_picture_is(
    triton: FakeTriton, somewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["a red circle", "--timings", "-o", "circle.png", *triton.arguments]) == 0
    assert (somewhere / "circle.png").read_bytes() == png_of(41)
    text, errors = capsys.readouterr()
    assert text.splitlines() == [
        "circle.png  16x8  seed 41",
        "text_encoder       1.5 ms, after 0.5 ms in queue",
        "unet             250.0 ms, after 2.0 ms in queue",
        "vae_decoder       12.0 ms, after 0.2 ms in queue",
    ]
    assert errors == ""


def test_several_pictures_are_numbered(triton: FakeTriton, somewhere: Path) -> None:
    assert main(["a", "b", "--seed", "1", "--seed", "2", *triton.arguments]) == 0
    assert {file.name: file.read_bytes() for file in somewhere.iterdir()} == {
        "out-1.png": png_of(1),
        "out-2.png": png_of(2),
    }


def test_json_is_all_there_is_on_standard_output(
    triton: FakeTriton, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["a", "b", "--seed", "5", "--json", *triton.arguments]) == 0
    looks = {"seed": 5, "width": 16, "height": 8, "bytes": len(png_of(5))}
    assert json.loads(capsys.readouterr().out) == {
        "pictures": [
            {"file": "out-1.png", "prompt": "a", **looks},
            {"file": "out-2.png", "prompt": "b", **looks},
        ],
        "stages": {
            "text_encoder": {"queue_ms": 0.5, "compute_ms": 1.5},
            "unet": {"queue_ms": 2.0, "compute_ms": 250.0},
            "vae_decoder": {"queue_ms": 0.25, "compute_ms": 12.0},
        },
    }


def test_picture_on_standard_output(
    triton: FakeTriton, somewhere: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert main(["a", "-o", "-", *triton.arguments]) == 0
    picture, text = capfdbinary.readouterr()
    assert picture == png_of(41)
    assert text == b"-  16x8  seed 41\n"
    assert list(somewhere.iterdir()) == []


@pytest.mark.parametrize("code", ["INVALID_ARGUMENT", "CANCELLED", "INTERNAL", "UNAVAILABLE"])
def test_refusal_is_one_line_and_status_1(
    triton: FakeTriton, client: Client, code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    triton.refusals = [
        Refusal(code, "in ensemble 'stable_diffusion', steps: got 0,\nexpected 1 to 150")
    ]
    assert main(["a", "--retries", "0", *triton.arguments]) == 1
    assert capsys.readouterr() == ("", "client.py: steps: got 0, expected 1 to 150\n")

    client.retries = 0
    triton.refusals = [Refusal(code, "no")]
    with pytest.raises(RequestError, match="no") as refused:
        client.generate("a")
    assert refused.value.code == code


def test_only_a_busy_server_is_asked_again(triton: FakeTriton, client: Client) -> None:
    triton.refusals = [Refusal("UNAVAILABLE", "busy"), Refusal("UNAVAILABLE", "busy")]
    assert client.generate("a", seed=3)[0].png == png_of(3)
    first, second, third = (request.timeout for request in triton.seen)
    assert first > second > third  # one deadline, however many tries

    triton.seen.clear()
    triton.refusals = [Refusal("INTERNAL", "a bug")]
    with pytest.raises(RequestError, match="a bug"):
        client.generate("a")
    assert len(triton.seen) == 1


def test_tries_are_bounded(triton: FakeTriton, client: Client) -> None:
    triton.refusals = [Refusal("UNAVAILABLE", "busy") for _ in range(100)]
    client.retries = 2
    with pytest.raises(RequestError, match="busy"):
        client.generate("a")
    assert len(triton.seen) == 3

    triton.seen.clear()
    client.retries, client.timeout = 1000, 0.3
    with pytest.raises(RequestError, match="busy"):
        client.generate("a")
    assert 2 <= len(triton.seen) <= 6  # 0.05 s apart


def test_no_server(protocol: str, free_port: int, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--url", f"127.0.0.1:{free_port}", *(["--http"] if protocol == "http" else [])]
    assert main(["a", "--retries", "1", *where]) == 1
    text, errors = capsys.readouterr()
    assert text == ""
    assert errors.startswith(f"client.py: no server at 127.0.0.1:{free_port} (Connection refused")
    assert errors.endswith("`make serve` starts one\n")
    assert errors.count("\n") == 1


def test_waits_for_a_server_that_is_starting(protocol: str, free_port: int) -> None:
    started: list[FakeTriton] = []
    starter = threading.Timer(0.5, lambda: started.append(FakeTriton(protocol, free_port)))
    starter.start()
    url = f"127.0.0.1:{free_port}"
    with Client(url, http=protocol == "http", timeout=10, retries=1000) as client:
        try:
            assert client.generate("a", seed=9)[0].png == png_of(9)
        finally:
            starter.join()
            started[0].stop()


def test_a_server_that_dies_is_named(
    triton: FakeTriton, capsys: pytest.CaptureFixture[str]
) -> None:
    triton.go_on.clear()
    command = [sys.executable, str(PROGRAM), "a", "--retries", "0", *triton.arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        wait_until(lambda: len(triton.seen) == 1)
        triton.die()
        _, errors = process.communicate(timeout=10)
    assert process.returncode == 1
    assert errors.startswith(f"client.py: no server at {triton.url} (")
    assert errors.count("\n") == 1


def test_silent_server_runs_into_the_timeout(
    triton: FakeTriton, capsys: pytest.CaptureFixture[str]
) -> None:
    triton.go_on.clear()
    begun = time.monotonic()
    assert main(["a", "--timeout", "0.2", *triton.arguments]) == 1
    assert time.monotonic() - begun < 3
    assert capsys.readouterr().err == f"client.py: no answer from {triton.url} in time\n"
    assert len(triton.seen) == 1


def test_address_from_the_environment(
    triton: FakeTriton, protocol: str, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ["--http"] if protocol == "http" else []
    monkeypatch.setenv(f"TRITON_{protocol.upper()}", triton.url)
    assert main(["a", *flags]) == 0
    monkeypatch.setenv(f"TRITON_{protocol.upper()}", f"127.0.0.1:{free_port}")
    assert main(["a", *triton.arguments]) == 0
    assert len(triton.seen) == 2


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ("", "prompt"),
        ("a --steps many", "--steps"),
        ("a --step 5", "--step"),
        ("a --timeout 0", "--timeout"),
        ("a --timeout nan", "--timeout"),
        ("a -o nowhere/a.png", "nowhere/a.png"),
        ("a -o .", "directory"),
        ("a b -o -", "one prompt"),
        ("a -o - --json", "--json"),
    ],
)
def test_usage(options: str, complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(options.split())
    assert left.value.code == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "number"), [("--steps", 2**40), ("--width", -(2**31) - 1), ("--seed", 2**63)]
)
def test_numbers_too_large_for_the_wire(
    triton: FakeTriton, option: str, number: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["a", option, str(number), *triton.arguments]) == 1
    assert capsys.readouterr().err.startswith(f"client.py: {option[2:]}: got {number}, expected ")
    assert triton.seen == []


def test_prompt_that_is_not_utf8_reaches_the_server(triton: FakeTriton) -> None:
    assert main([os.fsdecode(b"caf\xe9"), *triton.arguments]) == 0
    assert triton.seen[0].inputs["prompt"].values == [b"caf\xe9"]


@pytest.mark.filterwarnings("error")
def test_infinite_guidance_is_left_to_the_server(triton: FakeTriton, client: Client) -> None:
    client.generate("a", guidance_scale=1e300)
    assert triton.seen[0].inputs["guidance_scale"].values == [float("inf")]


def a_picture() -> Picture:
    return Picture("a", 7, png_of(7), {})


def test_a_failed_write_leaves_the_old_file(
    somewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = somewhere / "out.png"
    file.write_bytes(b"old")
    write_bytes = Path.write_bytes

    def full_disk(path: Path, data: bytes) -> int:
        write_bytes(path, data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(OSError, match="No space left"):
        a_picture().save(file)
    assert file.read_bytes() == b"old"
    assert list(somewhere.iterdir()) == [file]


def test_files_get_the_usual_mode(somewhere: Path) -> None:
    a_picture().save("out.png")
    (somewhere / "usual").touch()
    assert (somewhere / "out.png").stat().st_mode == (somewhere / "usual").stat().st_mode


def test_a_pipe_is_written_to_not_replaced(somewhere: Path) -> None:
    pipe = somewhere / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    a_picture().save(pipe)
    assert os.read(reader, 100_000) == png_of(7)
    os.close(reader)


def test_interrupt_leaves_with_130(triton: FakeTriton) -> None:
    triton.go_on.clear()
    command = [sys.executable, str(PROGRAM), "a", *triton.arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        wait_until(lambda: len(triton.seen) == 1)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=10)
    assert process.returncode == 130
    assert errors == "client.py: interrupted\n"


def test_progress_is_shown_on_a_terminal(triton: FakeTriton) -> None:
    triton.go_on.clear()
    ours, theirs = pty.openpty()
    command = [sys.executable, str(PROGRAM), "a", "b", "-o", "out.png", *triton.arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        while b"drawing 2 pictures" not in shown or b"0:00:01" not in shown:
            shown += os.read(ours, 4096)
        triton.go_on.set()
        text, _ = process.communicate(timeout=10)
    os.close(ours)
    assert process.returncode == 0
    assert text.splitlines() == [b"out-1.png  16x8  seed 41", b"out-2.png  16x8  seed 41"]


def wait_until(condition: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)

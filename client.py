#!/usr/bin/env python3
"""Draw pictures with Latent Relay: a command, and a library for other programs.

As a command:
    python client.py "a red circle" -o circle.png
    python client.py "a red circle" "a blue star"       # out-1.png, out-2.png
    python client.py "a red circle" -o - | display      # the PNG on standard output

As a library:
    from client import Client

    with Client() as client:
        for picture in client.generate(["a red circle", "a blue star"], seed=7):
            picture.save(f"{picture.prompt}.png")
"""

from __future__ import annotations

import argparse
import json
import os
import re
import struct
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

# Read when gRPC is imported; without it, gRPC writes log lines beside our one line of error.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

import gevent  # type: ignore[import-untyped]
import numpy as np
import tenacity
import tritonclient.grpc
import tritonclient.http
from geventhttpclient.response import HTTPParseError
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

MODEL = "stable_diffusion"
STAGES = ("text_encoder", "unet", "vae_decoder")
OUTPUTS = ("image", "seed_used", *(f"{stage}_ms" for stage in STAGES))
BYTES, INT64, INT32, FP32 = np.object_, np.int64, np.int32, np.float32
STDOUT = Path("-")

# The server knows the deadline too, and its answer says more than silence does: let it go first.
GRACE_SECONDS = 0.5

Tensors = Mapping[str, NDArray[Any]]


# What may be said about a picture: its type for Triton, its type for Python, what --help says.
OPTIONS: dict[str, tuple[type[np.generic], type, str]] = {
    "negative_prompt": (BYTES, str, "what to keep out of the picture"),
    "seed": (INT64, int, "once for all pictures, or once for each"),
    "steps": (INT32, int, "how often to denoise"),
    "guidance_scale": (FP32, float, "how closely to follow the prompt"),
    "height": (INT32, int, "in pixels"),
    "width": (INT32, int, "in pixels"),
    "scheduler": (BYTES, str, "the sampler: ddim, euler, dpmpp_2m, pndm, …"),
}


class RequestError(Exception):
    """Refused, or failed: the reason in the server's words, and its `code` as gRPC names it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message.removeprefix(f"in ensemble '{MODEL}', "))
        self.code = code


class StageTime(NamedTuple):
    queue_ms: float
    compute_ms: float


@dataclass(frozen=True)
class Picture:
    """One picture; `stages` says where the time of its whole request went."""

    prompt: str
    seed: int
    png: bytes
    stages: Mapping[str, StageTime]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, from the PNG's header."""
        width, height = struct.unpack_from(">II", self.png, 16)
        return width, height

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the file whole or not at all: nobody ever sees half a picture."""
        path = Path(path)
        if path.exists() and not path.is_file():  # a device or a pipe is not to be replaced
            path.write_bytes(self.png)
            return
        part = path.with_name(f".{uuid4().hex}.part")
        try:
            part.write_bytes(self.png)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


class Client:
    """Asks one server for pictures. Threads may share it.

    `timeout` (seconds) covers a whole `generate`. Within it, a server that is busy or out of reach
    is asked again, up to `retries` times; drawing the same seed twice gives the same picture.
    """

    def __init__(
        self, url: str = "", *, http: bool = False, timeout: float = 300, retries: int = 3
    ) -> None:
        self._transport = HttpTransport(url) if http else GrpcTransport(url)
        self.timeout = timeout
        self.retries = retries

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._transport.close()

    def generate(
        self,
        prompts: str | Sequence[str],
        *,
        negative_prompt: str | None = None,
        seed: int | Sequence[int] | None = None,
        steps: int | None = None,
        guidance_scale: float | None = None,
        height: int | None = None,
        width: int | None = None,
        scheduler: str | None = None,
        request_id: str = "",
    ) -> list[Picture]:
        """Draws one picture for each prompt; an option left out is the model's own choice.

        Raises RequestError with the server's reason, ConnectionError when there is no server, and
        TimeoutError when it does not answer in time.
        """
        options = {
            "negative_prompt": negative_prompt,
            "seed": seed,
            "steps": steps,
            "guidance_scale": guidance_scale,
            "height": height,
            "width": width,
            "scheduler": scheduler,
        }
        prompts = [prompts] if isinstance(prompts, str) else prompts
        tensors = {"prompt": tensor("prompt", BYTES, prompts)}
        for name, value in options.items():
            if value is not None:
                tensors[name] = tensor(name, OPTIONS[name][0], value)
        outputs = self._infer(tensors, request_id)
        milliseconds = {name: outputs[f"{name}_ms"].astype(float).round(3) for name in STAGES}
        stages = {name: StageTime(*times.tolist()) for name, times in milliseconds.items()}
        seeds, images = outputs["seed_used"].tolist(), outputs["image"].tolist()
        return [
            Picture(prompt, seed, png, stages)
            for prompt, seed, png in zip(prompts, seeds, images, strict=True)
        ]

    def _infer(self, tensors: Tensors, request_id: str) -> Tensors:
        deadline = time.monotonic() + self.timeout

        def attempt() -> Tensors:
            remaining = max(deadline - time.monotonic(), 0.001)
            return self._transport.infer(tensors, request_id, remaining)

        again = tenacity.Retrying(
            retry=tenacity.retry_if_exception(is_temporary),
            stop=tenacity.stop_after_attempt(self.retries + 1)
            | tenacity.stop_before_delay(self.timeout),
            wait=tenacity.wait_random_exponential(multiplier=0.25, max=4),
            reraise=True,
        )
        return again(attempt)


def is_temporary(error: BaseException) -> bool:
    return isinstance(error, ConnectionError) or getattr(error, "code", "") == "UNAVAILABLE"


def tensor(name: str, dtype: type[np.generic], value: Any) -> NDArray[Any]:
    values: Any = [value] if np.isscalar(value) else value
    if dtype is BYTES:
        # A command line that is not UTF-8 is sent as it is, for the server to refuse.
        values = [text.encode("utf-8", "surrogateescape") for text in values]
    elif issubclass(dtype, np.integer):
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
        for number in values:  # NumPy 1 would wrap it around in silence
            if not low <= number <= high:
                limits = f"expected {low} to {high}"
                raise RequestError("INVALID_ARGUMENT", f"{name}: got {number}, {limits}")
    with np.errstate(over="ignore"):  # infinity is refused by the server
        return np.array(values, dtype=dtype)


def no_server(url: str, reason: object) -> ConnectionError:
    return ConnectionError(f"no server at {url} ({reason}); `make serve` starts one")


def infer_arguments(module: Any, tensors: Tensors, request_id: str, seconds: float) -> Any:
    """What `infer` takes in tritonclient.grpc and in tritonclient.http alike."""
    inputs = []
    for name, array in tensors.items():
        described = module.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
        inputs.append(described.set_data_from_numpy(array))
    return {
        "model_name": MODEL,
        "inputs": inputs,
        "outputs": [module.InferRequestedOutput(name) for name in OUTPUTS],
        "request_id": request_id,
        "timeout": int(seconds * 1e6),
    }


class GrpcTransport:
    """One try at an inference over gRPC."""

    def __init__(self, url: str) -> None:
        self.url = url or os.environ.get("TRITON_GRPC") or "127.0.0.1:8001"
        channel = {
            "grpc.max_receive_message_length": -1,
            # By default gRPC waits longer before it connects again than we do before we ask again.
            "grpc.initial_reconnect_backoff_ms": 100,
            "grpc.max_reconnect_backoff_ms": 1000,
        }
        self._client = tritonclient.grpc.InferenceServerClient(
            self.url, channel_args=list(channel.items())
        )

    def close(self) -> None:
        self._client.close()

    def infer(self, tensors: Tensors, request_id: str, seconds: float) -> Tensors:
        arguments = infer_arguments(tritonclient.grpc, tensors, request_id, seconds)
        try:
            result = self._client.infer(**arguments, client_timeout=seconds + GRACE_SECONDS)
        except InferenceServerException as error:
            code = str(error.status()).removeprefix("StatusCode.")
            # gRPC says UNAVAILABLE for a busy server and for none at all.
            if code == "UNAVAILABLE" and not self._is_alive():
                said = re.search(r"Connection \w+|Socket closed", error.message())
                reason = said.group() if said else "no connection"
                raise no_server(self.url, reason) from error
            if code == "DEADLINE_EXCEEDED":
                raise TimeoutError(f"no answer from {self.url} in time") from error
            raise RequestError(code, error.message()) from error
        return {name: result.as_numpy(name) for name in OUTPUTS}

    def _is_alive(self) -> bool:
        try:
            return bool(self._client.is_server_live(client_timeout=1))
        except InferenceServerException:
            return False


class HttpTransport:
    """One try at an inference over HTTP."""

    codes: Mapping[str, str] = {
        "400": "INVALID_ARGUMENT",
        "404": "NOT_FOUND",
        "499": "CANCELLED",
        "503": "UNAVAILABLE",
    }

    def __init__(self, url: str) -> None:
        self.url = url or os.environ.get("TRITON_HTTP") or "127.0.0.1:8000"

    def close(self) -> None:
        """Nothing stays open."""

    def infer(self, tensors: Tensors, request_id: str, seconds: float) -> Tensors:
        arguments = infer_arguments(tritonclient.http, tensors, request_id, seconds)
        deadline = time.monotonic() + seconds
        # A client for each try: threads cannot share one, and its time limit is fixed when made.
        client = tritonclient.http.InferenceServerClient(
            self.url.removeprefix("http://"),
            connection_timeout=seconds,
            network_timeout=seconds + GRACE_SECONDS,
        )
        try:
            with client:
                result = client.infer(**arguments)
        except InferenceServerException as error:
            code = self.codes.get(str(error.status()), "INTERNAL")
            raise RequestError(code, error.message()) from error
        except (OSError, HTTPParseError) as error:
            if time.monotonic() >= deadline:
                raise TimeoutError(f"no answer from {self.url} in time") from error
            reason = getattr(error, "strerror", None) or error
            raise no_server(self.url, reason) from error
        return {name: result.as_numpy(name) for name in OUTPUTS}


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    title, _, examples = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="client.py",
        usage="%(prog)s [options] prompt [prompt ...]",
        description=title,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("prompt", nargs="+", help="what to draw: a picture for each")
    for name, (_, kind, text) in OPTIONS.items():
        action = "append" if name == "seed" else "store"
        add(f"--{name.replace('_', '-')}", type=kind, action=action, help=text)
    add("-o", "--out", type=Path, default=Path("out.png"), help="a file; - is standard output")
    add("--timings", action="store_true", help="show the time in each stage")
    add("--json", action="store_true", help="print what came back as one JSON document")
    add("--http", action="store_true", help="HTTP in place of gRPC")
    add("--url", default="", help="host:port; or set TRITON_GRPC, TRITON_HTTP")
    add("--timeout", type=float, default=300, help="seconds for the whole request: 300")
    add("--retries", type=int, default=3, help="while busy or out of reach: 3")
    add("--request-id", default="", help="stands in the server's logs")
    options = parser.parse_args(arguments)
    if not 0 < options.timeout <= 86_400:
        parser.error(f"--timeout: got {options.timeout}, expected up to a day of seconds")
    output: Path = options.out
    if output == STDOUT:
        if options.json or len(options.prompt) > 1:
            parser.error("-o - takes one prompt, and not --json")
    elif output.is_dir() or not output.parent.is_dir():
        parser.error(f"-o {output}: a file in an existing directory is expected")
    return options


def draw(options: argparse.Namespace) -> list[Picture]:
    """Generates, with a moving bar when somebody is looking."""
    number = len(options.prompt)
    client = Client(
        options.url, http=options.http, timeout=options.timeout, retries=options.retries
    )
    waiting = Progress(
        TextColumn(f"drawing {number} picture{'s' * (number > 1)}"),
        BarColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    with client, waiting:
        waiting.add_task("", total=None)
        chosen = {name: getattr(options, name) for name in OPTIONS}
        return client.generate(options.prompt, request_id=options.request_id, **chosen)


def save(pictures: Sequence[Picture], output: Path) -> list[Path]:
    """Writes the pictures, and returns where each one is."""
    if output == STDOUT:
        sys.stdout.buffer.write(pictures[0].png)
        sys.stdout.buffer.flush()
        return [output]
    files = [output]
    if len(pictures) > 1:
        files = [output.with_stem(f"{output.stem}-{i + 1}") for i in range(len(pictures))]
    for picture, file in zip(pictures, files, strict=True):
        picture.save(file)
    return files


def report(pictures: Sequence[Picture], files: Sequence[Path], timings: bool) -> None:
    text = sys.stderr if STDOUT in files else sys.stdout
    for picture, file in zip(pictures, files, strict=True):
        width, height = picture.size
        print(f"{file}  {width}x{height}  seed {picture.seed}", file=text)
    if timings:
        for stage, (queue, compute) in pictures[0].stages.items():
            print(f"{stage:<13}{compute:9.1f} ms, after {queue:.1f} ms in queue", file=text)


def document(pictures: Sequence[Picture], files: Sequence[Path]) -> str:
    """The report for programs."""
    drawn = [
        {
            "file": str(file),
            "prompt": picture.prompt,
            "seed": picture.seed,
            "width": picture.size[0],
            "height": picture.size[1],
            "bytes": len(picture.png),
        }
        for picture, file in zip(pictures, files, strict=True)
    ]
    stages = {stage: spent._asdict() for stage, spent in pictures[0].stages.items()}
    return json.dumps({"pictures": drawn, "stages": stages}, indent=2)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 drawn, 1 refused or failed, 130 interrupted; argparse exits with 2."""
    options = parse(arguments)
    # An interrupt is told in one line, ours; gevent, below Triton's HTTP client, has another.
    gevent.get_hub().NOT_ERROR += (KeyboardInterrupt,)
    try:
        pictures = draw(options)
        files = save(pictures, options.out)
        if options.json:
            print(document(pictures, files))
        else:
            report(pictures, files, options.timings)
    except KeyboardInterrupt:
        print("client.py: interrupted", file=sys.stderr)
        return 130
    except (RequestError, OSError) as error:
        print(f"client.py: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Starts a stack as a process of its own, and calls it as clients do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import tritonclient.grpc as triton_grpc
from tritonclient.utils import triton_to_np_dtype

from tests.support.paths import ROOT
from tests.support.pictures import CIRCLE, encoded, pixels
from tests.support.waiting import wait_until

ENSEMBLE = "stable_diffusion"
STAGES = ("text_encoder", "unet", "vae_decoder")
IMAGE_TO_IMAGE_STAGES = ("text_encoder", "vae_encoder", "unet", "vae_decoder")
STAR = "a large yellow star on a black background"
IMAGE_TO_IMAGE = "image_to_image"
START_SECONDS = 600
STOP_SECONDS = 180
MAX_IN_FLIGHT = 96
DATATYPES = {
    "prompt": "BYTES",
    "negative_prompt": "BYTES",
    "scheduler": "BYTES",
    "encoding": "BYTES",
    "request_id": "BYTES",
    "init_image": "BYTES",
    "seed": "INT64",
    "steps": "INT32",
    "height": "INT32",
    "width": "INT32",
    "priority": "INT32",
    "preview_every": "INT32",
    "dump_latents_every": "INT32",
    "guidance_scale": "FP32",
    "guidance_end": "FP32",
    "strength": "FP32",
    "prompt_embeds": "FP32",
    "negative_prompt_embeds": "FP32",
    "latents": "FP32",
}


class TritonService(ABC):
    """A service that answers stock tritonclient over gRPC."""

    @property
    @abstractmethod
    def grpc(self) -> str: ...

    def client(self) -> Any:
        return triton_grpc.InferenceServerClient(self.grpc)

    def draw(self, *prompts: str, **options: Any) -> list[bytes]:
        """Returns one PNG file per prompt."""
        answer = self.infer(*prompts, **options)
        return list(answer.as_numpy("image"))

    def infer(self, *prompts: str, timeout: int | None = None, **options: Any) -> Any:
        """Sends one request; timeout in microseconds."""
        request_id = options.pop("request_id", "")
        model = options.pop("model", ENSEMBLE)
        inputs = tensors(triton_grpc, prompt=list(prompts), **options)
        with self.client() as client:
            return client.infer(model, inputs, timeout=timeout, request_id=request_id)


@dataclass
class Stack(TritonService):
    """`make serve` as a process of its own; `output`: the file with what it prints."""

    process: subprocess.Popen[bytes]
    output: Path
    addresses: dict[str, Any] = field(default_factory=dict)

    def wait_ready(self, seconds: float = START_SECONDS) -> None:
        file = ROOT / ".run" / f"{self.process.pid}.json"
        wait_until(lambda: file.exists() or self.process.poll() is not None, seconds)
        assert file.exists(), self.output.read_text()
        self.addresses = json.loads(file.read_text())

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(STOP_SECONDS)

    @property
    def http(self) -> str:
        return str(self.addresses["http"])

    @property
    def grpc(self) -> str:
        return str(self.addresses["grpc"])

    @property
    def gateway(self) -> str:
        return str(self.addresses["gateway"])

    def log(self, part: str) -> str:
        return (ROOT / ".run" / str(self.process.pid) / f"{part}.log").read_text(errors="replace")

    def processes(self, name: str = "") -> list[psutil.Process]:
        """Returns the stack's processes whose command line contains `name`."""
        found = []
        for process in psutil.Process(self.process.pid).children(recursive=True):
            try:
                if name in " ".join(process.cmdline()) and process.status() != "zombie":
                    found.append(process)
            except psutil.NoSuchProcess:
                pass
        return found

    def replica(self, stage: str) -> psutil.Process:
        (process,) = self.processes(f"ServeReplica:{stage}-")
        return process


def tensors(module: Any, **values: Any) -> list[Any]:
    """Makes inputs for tritonclient's `module`; a value is an array, a list or a single item."""
    inputs = []
    for name, value in values.items():
        kind = DATATYPES[name]
        items = value if isinstance(value, list | np.ndarray) else [value]
        raw = [item.encode() if isinstance(item, str) else item for item in items]
        array = np.array(raw, triton_to_np_dtype(kind))
        tensor = module.InferInput(name, array.shape, kind)
        inputs.append(tensor.set_data_from_numpy(array))
    return inputs


def image_to_image_options(**options: Any) -> dict[str, Any]:
    """Returns the options of `Stack.draw` for image-to-image, starting at a red circle."""
    return {"model": IMAGE_TO_IMAGE, "init_image": encoded(CIRCLE), "seed": 7, **options}


def start_stack(output: Path, **environment: str) -> Stack:
    ports = dict.fromkeys(("HTTP_PORT", "GRPC_PORT", "METRICS_PORT", "GATEWAY_PORT"), "0")
    command = [sys.executable, "-m", "ray_stages", "serve"]
    with output.open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **ports, **environment},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    return Stack(process, output)


@contextmanager
def running_stack(output: Path, **environment: str) -> Iterator[Stack]:
    """Yields a stack that is ready, and stops it at the end."""
    stack = start_stack(output, **environment)
    try:
        stack.wait_ready()
        yield stack
    finally:
        stack.stop()


def log_contains(stack: Stack, part: str, text: str) -> bool:
    return text in stack.log(part)


def fetch(url: str, body: object = None) -> tuple[int, str]:
    """Returns status and text; sends a POST if there is a body."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def looks_like_the_star(png: bytes) -> bool:
    """Returns whether the centre is yellow and the edge is black."""
    picture = pixels(png)
    centre = picture[56:72, 56:72].reshape(-1, 3).mean(axis=0)
    edge = np.concatenate([picture[:4].reshape(-1, 3), picture[-4:].reshape(-1, 3)]).mean(axis=0)
    red, green, blue = centre
    return bool(red > 180 and green > 140 and blue < 120 and edge.max() < 60)

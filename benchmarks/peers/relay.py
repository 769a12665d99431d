"""Peer 4: Latent Relay, through Triton over gRPC."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import numpy as np
import tritonclient.grpc.aio as triton
from prometheus_client.parser import text_string_to_metric_families
from tritonclient.utils import InferenceServerException

from benchmarks.common.png import PNG
from benchmarks.load.loops import DrawFunction, GenerationFailed, GenerationResult
from benchmarks.load.requests import GenerationRequest
from benchmarks.load.samples import MODELS, Measurement, mean_spans
from benchmarks.peers.child_peer import ChildPeer

ENSEMBLE = "stable_diffusion"
STREAM = "stable_diffusion_stream"
TIMES = [f"{model}_ms" for model in MODELS]
TRITON_MICROSECONDS = "nv_inference_request_duration_us"
BRIDGE_SECONDS = "latent_relay_latency_seconds_sum"
FREE_PORTS = dict.fromkeys(("HTTP_PORT", "GRPC_PORT", "METRICS_PORT", "GATEWAY_PORT"), "0")


class Relay(ChildPeer):
    """The stack as `make serve` starts it, with the settings of the environment."""

    key = "relay"
    label = "Latent Relay"

    async def start(self) -> None:
        self.spawn(["ray_stages", "serve"], env=FREE_PORTS)
        assert self.child
        file = self.settings.run_dir / f"{self.child.pid}.json"
        await self.wait_until(file.exists)
        self.addresses: dict[str, str] = json.loads(file.read_text())
        self.client = triton.InferenceServerClient(self.addresses["grpc"])

    async def close(self) -> None:
        if hasattr(self, "client"):
            await self.client.close()

    async def stream(self) -> DrawFunction | None:
        return self.draw_streamed if await self.client.is_model_ready(STREAM) else None

    async def draw(self, request: GenerationRequest) -> GenerationResult:
        outputs = [triton.InferRequestedOutput(name) for name in ("image", *TIMES)]
        try:
            result = await self.client.infer(ENSEMBLE, _inputs(request), outputs=outputs)
        except InferenceServerException as error:
            raise GenerationFailed(error.message()) from error
        png = result.as_numpy("image")[0]
        if not png.startswith(PNG):
            raise GenerationFailed(f"no PNG: {png[:20]!r}")
        times = {model: result.as_numpy(f"{model}_ms") / 1000 for model in MODELS}
        return GenerationResult(png, _first_step(times), _spans(times))

    async def draw_streamed(self, request: GenerationRequest) -> GenerationResult:
        """Draws with a preview after each quarter of the steps."""
        every = np.array([max(1, request.steps // 4)], np.int32)
        inputs = [*_inputs(request), _tensor("preview_every", "INT32", every)]

        async def requests() -> AsyncIterator[dict[str, Any]]:
            yield {"model_name": STREAM, "inputs": inputs}

        first_preview: float | None = None
        async for result, error in self.client.stream_infer(requests()):
            if error is not None:
                raise GenerationFailed(str(error))
            first_preview = first_preview or time.monotonic()
            if result.as_numpy("is_final")[0]:
                png = result.as_numpy("image")[0]
                return GenerationResult(png, first_step=first_preview, first_preview=first_preview)
        raise GenerationFailed("the stream ended before the last picture")

    async def counters(self) -> dict[str, float]:
        """Returns the seconds that all pictures so far spent in Triton, and in each stage's bridge.

        Triton's counter leaves out the client and the network. A bridge's counter leaves out the
        transfer of tensors between Triton and the bridge's process.
        """
        async with aiohttp.ClientSession() as session:
            url = f"http://{self.addresses['metrics']}/metrics"
            async with session.get(url) as response:
                text = await response.text()
        counters = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                name = sample.name.removesuffix("_total")  # the parser adds it, Triton does not
                if name == TRITON_MICROSECONDS and sample.labels["model"] == ENSEMBLE:
                    counters["triton"] = sample.value / 1e6
                elif name == BRIDGE_SECONDS and sample.labels["stage"] in MODELS:
                    counters[sample.labels["stage"]] = sample.value
        return counters

    def hops(self, means: Mapping[str, float], measurement: Measurement) -> dict[str, float]:
        spans = mean_spans([measurement])
        latency = sum(spans.values())
        bridges = {
            f"bridge ↔ {model}": means[model] - spans[f"{model}_queue"] - spans[model]
            for model in MODELS
        }
        inside = means["triton"] - sum(means[model] for model in MODELS)
        return {"client ↔ Triton": latency - means["triton"], "inside Triton": inside, **bridges}


def _inputs(request: GenerationRequest) -> list[Any]:
    return [
        _tensor("prompt", "BYTES", np.array([request.prompt.encode()], np.object_)),
        _tensor("seed", "INT64", np.array([request.seed], np.int64)),
        _tensor("steps", "INT32", np.array([request.steps], np.int32)),
    ]


def _tensor(name: str, kind: str, array: Any) -> Any:
    return triton.InferInput(name, list(array.shape), kind).set_data_from_numpy(array)


def _spans(times: Mapping[str, Any]) -> dict[str, float]:
    spans: dict[str, float] = {}
    for model in MODELS:
        queued, computed = times[model]
        spans |= {f"{model}_queue": float(queued), model: float(computed)}
    return spans


def _first_step(times: Mapping[str, Any]) -> float:
    """Estimates when the first step began, by counting back from now.

    All hops count as time before it, so the wait is never too short.
    """
    return time.monotonic() - float(times["unet"][1] + times["vae_decoder"].sum())

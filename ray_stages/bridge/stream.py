"""The bridge of a decoupled model: a response for each preview, and one for the final latents."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import numpy as np

from ray_stages.bridge.bridge import Bridge
from ray_stages.bridge.ordered_sender import OrderedSender
from ray_stages.bridge.stage_handles import StageHandle
from ray_stages.bridge.triton_request import TritonRequest
from ray_stages.requests import fields
from ray_stages.requests.fields import Array
from ray_stages.requests.stage_requests import StageResult

# Triton calls it a deadlock when a step of an ensemble leaves an output unset that a later step
# takes as its input.
DEFAULT_OUTPUTS: dict[str, Array] = {
    "prompt": fields.NO_TEXT,
    "negative_prompt": fields.NO_TEXT,
    "encoding": np.array([b"raw"], np.object_),
    "text_encoder_ms": np.zeros(2, np.float32),
}


class StreamBridge(Bridge):
    """Sends several responses to each request."""

    def execute(self, requests: list[Any]) -> None:
        """Returns None, as a decoupled model must, or Triton closes the responses."""
        super().execute(requests)

    async def _call_stage(
        self, request: TritonRequest, handle: StageHandle, stage_request: Any, sender: OrderedSender
    ) -> None:
        streaming = handle.deployment.options(stream=True, method_name="stream")
        results: Any = streaming.remote(request.context, stage_request)
        try:
            async for result in results:
                await self._send(request, handle, result, sender)
        except asyncio.CancelledError:
            results.cancel()
            raise

    async def _send(
        self,
        request: TritonRequest,
        handle: StageHandle,
        result: StageResult,
        sender: OrderedSender,
    ) -> None:
        """Sends a result with its number: the next stage processes several concurrently."""
        step, final = int(result.outputs["step"][0]), bool(result.outputs["is_final"][0])
        if step <= sender.last_step:  # sent already, by the attempt before the replica died
            return
        sequence = np.array([sender.stream_id, sender.sent_count, final], np.int64)
        outputs = {
            **DEFAULT_OUTPUTS,
            **request.tensors,
            **result.outputs,
            "sequence": sequence,
        }
        numbered = replace(result, outputs=outputs)
        await sender.send(self._response(request, handle, numbered), final)
        sender.last_step = step
        if final:
            self._record_success(request, result)

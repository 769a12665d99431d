"""The bridge of a decoupled model: a response for each preview, and one for the final latents."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import numpy as np

from ray_stages.bridge.bridge import Bridge, Reply
from ray_stages.bridge.stage_handles import Link
from ray_stages.bridge.triton_request import Call
from ray_stages.requests import fields
from ray_stages.requests.fields import Array
from ray_stages.requests.stage_requests import StageResult

# An ensemble's step that leaves a mapped output unset is a "deadlock".
LEFT_OUT: dict[str, Array] = {
    "prompt": fields.NO_TEXT,
    "negative_prompt": fields.NO_TEXT,
    "encoding": np.array([b"raw"], np.object_),
    "text_encoder_ms": np.zeros(2, np.float32),
}


class StreamBridge(Bridge):
    def execute(self, requests: list[Any]) -> None:
        """As a decoupled model has to, returns nothing, or Triton closes the responses."""
        super().execute(requests)

    async def _attempt(self, call: Call, link: Link, stage_request: Any, reply: Reply) -> None:
        streaming = link.handle.options(stream=True, method_name="stream")
        results: Any = streaming.remote(call.ticket, stage_request)
        try:
            async for result in results:
                await self._pass_on(call, link, result, reply)
        except asyncio.CancelledError:
            results.cancel()
            raise

    async def _pass_on(self, call: Call, link: Link, result: StageResult, reply: Reply) -> None:
        """Numbers it for the next stage, which works on several at once, to keep the order."""
        step, final = int(result.outputs["step"][0]), bool(result.outputs["is_final"][0])
        if step <= reply.step:  # sent already, before a replica died
            return
        sequence = np.array([reply.stream, reply.sent, final], np.int64)
        outputs = {**LEFT_OUT, **call.tensors, **result.outputs, "sequence": sequence}
        numbered = replace(result, outputs=outputs)
        await reply.send(self._response(call, link, numbered), final)
        reply.step = step
        if final:
            self._answered(call, result)

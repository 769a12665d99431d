"""The bridge of a decoupled model: a response for each preview, and one for the final latents."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import numpy as np

from ray_stages.bridge import Bridge, Reply
from ray_stages.call import Call
from ray_stages.request import StageResult


class StreamBridge(Bridge):
    async def _attempt(self, call: Call, stage_request: Any, reply: Reply) -> None:
        streaming = self.handle.options(stream=True, method_name="stream")
        results: Any = streaming.remote(call.ticket, stage_request)
        try:
            async for result in results:
                await self._pass_on(call, result, reply)
        except asyncio.CancelledError:
            results.cancel()
            raise

    async def _pass_on(self, call: Call, result: StageResult, reply: Reply) -> None:
        """Numbers it for the next stage, which works on several at once, to keep the order."""
        step, final = int(result.outputs["step"][0]), bool(result.outputs["is_final"][0])
        if step <= reply.step:  # sent already, before a replica died
            return
        sequence = np.array([reply.stream, reply.sent, final], np.int64)
        numbered = replace(result, outputs={**result.outputs, "sequence": sequence})
        await reply.send(self._response(call, numbered), final)
        reply.step = step
        if final:
            self._answered(call, result)

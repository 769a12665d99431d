"""The bridge of the model `cancel`: no stage behind it, only the word to all other bridges."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from ray_stages.bridge.bridge import FINAL, Bridge
from ray_stages.bridge.triton_request import printable
from ray_stages.requests import fields
from ray_stages.serving.cancellation import channel


class CancelBridge(Bridge):
    async def _connect(self) -> None:
        await self._join_ray()
        self.channel = await asyncio.to_thread(channel)

    async def _answer(self, request: Any) -> None:
        sender = request.get_response_sender()
        try:
            tensors = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
            request_id = printable(fields.word(tensors, "request_id", ""))
            found = await self.channel.cancel.remote(request_id)
            self._log("cancel", request_id, found=found)
            output = pb_utils.Tensor("found", np.array([found]))
            response = pb_utils.InferenceResponse(output_tensors=[output])
        except Exception as error:
            response = pb_utils.InferenceResponse(error=self._failure(None, error))
        sender.send(response, flags=FINAL)

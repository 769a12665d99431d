"""The bridge of the model `cancel`: it calls no stage, but the cancellation broker."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from ray_stages.bridge.bridge import Bridge
from ray_stages.bridge.ordered_sender import FINAL
from ray_stages.bridge.triton_request import printable
from ray_stages.requests import fields
from ray_stages.serving.cancellation import cancellation_broker


class CancelBridge(Bridge):
    """Takes `request_id`, answers `found`: whether any bridge had that request."""

    async def _connect(self) -> None:
        await self._join_ray()
        self.broker = await asyncio.to_thread(cancellation_broker)

    async def _answer(self, pb_request: Any) -> None:
        sender = pb_request.get_response_sender()
        try:
            tensors = {tensor.name(): tensor.as_numpy() for tensor in pb_request.inputs()}
            request_id = printable(fields.string(tensors, "request_id", ""))
            found = await self.broker.cancel.remote(request_id)
            self._log("cancel", request_id, found=found)
            output = pb_utils.Tensor("found", np.array([found]))
            response = pb_utils.InferenceResponse(output_tensors=[output])
        except Exception as error:
            response = pb_utils.InferenceResponse(error=self._triton_error(None, error))
        sender.send(response, flags=FINAL)

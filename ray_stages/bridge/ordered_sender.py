"""Sends the responses to one Triton request."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import triton_python_backend_utils as pb_utils

FINAL = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL


@dataclass
class OrderedSender:
    """Sends the responses to one request, after those to earlier requests of the same stream.

    pb_sender: Triton's `InferenceResponseSender`.
    wait_for_earlier: returns when the earlier requests have finished.
    sent_count: the responses sent so far. last_step: the denoising step of the last one.
    finished: the final response is sent; Triton allows no further use of `pb_sender`.
    stream_id: a random number, under which the responses are a stream for the next stage.
    """

    pb_sender: Any
    wait_for_earlier: Callable[[], Awaitable[None]]
    sent_count: int = 0
    last_step: int = 0
    finished: bool = False
    stream_id: int = field(default_factory=lambda: secrets.randbits(62))

    async def send(self, response: Any, final: bool = True) -> None:
        await self.wait_for_earlier()
        self.finished = final
        self.pb_sender.send(response, flags=FINAL if final else 0)
        self.sent_count += 1

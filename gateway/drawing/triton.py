"""All that the gateway asks of Triton, over one gRPC channel."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
from tritonclient.grpc import service_pb2_grpc

from gateway.drawing.calls import Calls
from gateway.drawing.generation import Wish
from gateway.errors import Failed
from relay_client.grpc_transport import CHANNEL, message, tensors
from relay_client.options import BYTES, INT32, tensor
from relay_client.picture import Picture, Preview, pictures_from, preview_from
from relay_client.transport import Call

OUTPUTS = ("image", "seed_used", "text_encoder_ms", "unet_ms", "vae_decoder_ms")
STREAMED = ("step", "steps_used", "is_final", *OUTPUTS)
GRACE_SECONDS = 2.0  # Triton answers by itself when the time has passed
CANCEL_SECONDS = 2.0
# Several servers take turns; one that is gone or sheds is asked again, or its neighbour is.
POLICY = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [
        {
            "name": [{"service": "inference.GRPCInferenceService", "method": "ModelInfer"}],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.1s",
                "maxBackoff": "1s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ],
}


class Triton:
    """Whoever leaves `draw` or `stream` before the end has the server cancel the request."""

    def __init__(self, addresses: Sequence[str], tls_ca: Path | None = None) -> None:
        """tls_ca: whom to trust with TLS; without it, gRPC is plain."""
        policy = {**CHANNEL, "grpc.service_config": json.dumps(POLICY)}
        target = addresses[0] if len(addresses) == 1 else f"ipv4:{','.join(addresses)}"
        # With TLS, all of several answer for the name of the first.
        name = addresses[0].removeprefix("dns:///")
        options = [*policy.items(), ("grpc.default_authority", name)]
        if tls_ca:
            trusted = grpc.ssl_channel_credentials(tls_ca.read_bytes())
            self._channel = grpc.aio.secure_channel(target, trusted, options)
        else:
            self._channel = grpc.aio.insecure_channel(target, options)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        self._calls = Calls()

    async def close(self) -> None:
        await self._calls.finish(CANCEL_SECONDS)
        await self._channel.close()

    async def draw(self, wish: Wish, request_id: str, seconds: float) -> list[Picture]:
        call = Call(wish.model, wish.tensors(), OUTPUTS, request_id)
        with self._cancelled_when_left(request_id), _failures():
            answer = await self._calls.answer(
                self._stub.ModelInfer(message(call, seconds), timeout=seconds + GRACE_SECONDS)
            )
        return pictures_from(wish.prompts, tensors(call, answer))

    async def stream(
        self, wish: Wish, request_id: str, seconds: float, preview_every: int
    ) -> AsyncGenerator[Preview, None]:
        """The last one is final."""
        inputs = {**wish.tensors(), "preview_every": tensor("preview_every", INT32, preview_every)}
        call = Call("stable_diffusion_stream", inputs, STREAMED, request_id)
        with self._cancelled_when_left(request_id), _failures():
            streaming = self._stub.ModelStreamInfer(
                _once(message(call, seconds)), timeout=seconds + GRACE_SECONDS
            )
            async with contextlib.aclosing(self._calls.answers(streaming)) as answers:
                async for answer in answers:
                    if answer.error_message:
                        raise Failed.as_triton_says("UNKNOWN", answer.error_message)
                    preview = preview_from(wish.prompts, tensors(call, answer.infer_response))
                    if preview.is_final:
                        break
                    yield preview
                else:
                    raise Failed(500, "the stream ended before the final pictures")
        yield preview

    async def cancel(self, request_id: str) -> bool:
        """Whether the server knew the request."""
        inputs = {"request_id": tensor("request_id", BYTES, request_id)}
        call = Call("cancel", inputs, ("found",))
        with _failures():
            answer = await self._stub.ModelInfer(
                message(call, CANCEL_SECONDS), timeout=CANCEL_SECONDS
            )
        return bool(tensors(call, answer)["found"].item())

    @contextlib.contextmanager
    def _cancelled_when_left(self, request_id: str) -> Iterator[None]:
        try:
            yield
        except (asyncio.CancelledError, GeneratorExit):
            self._calls.start(self._quietly_cancel(request_id))
            raise

    async def _quietly_cancel(self, request_id: str) -> None:
        with contextlib.suppress(Failed):
            await self.cancel(request_id)


async def _once(request: Any) -> AsyncIterator[Any]:
    yield request


@contextlib.contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except grpc.RpcError as error:
        raise Failed.as_triton_says(error.code().name, error.details() or "") from error

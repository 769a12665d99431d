"""The gateway's gRPC client of Triton. All its calls share one channel."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
from tritonclient.grpc import service_pb2_grpc

from gateway.drawing.generation_request import GenerationRequest
from gateway.drawing.uncancelled_calls import UncancelledCalls
from gateway.errors import ApiError
from relay_client.grpc_transport import channel_options, output_tensors, request_message
from relay_client.options import BYTES, INT32, tensor
from relay_client.picture import Picture, Preview, pictures_from, preview_from
from relay_client.transport import TritonRequest

OUTPUTS = ("image", "seed_used", "text_encoder_ms", "unet_ms", "vae_decoder_ms")
STREAM_OUTPUTS = ("step", "steps_used", "is_final", *OUTPUTS)
GRACE_SECONDS = 2.0  # Triton answers by itself once the deadline has passed
CANCEL_SECONDS = 2.0
# Requests go to several servers in turn. One that is gone or sheds load is not the last word: gRPC
# asks again, and perhaps another server.
SERVICE_CONFIG = {
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


class TritonClient:
    """A caller that leaves `draw` or `stream` early has Triton cancel the request."""

    def __init__(self, addresses: Sequence[str], tls_ca: Path | None = None) -> None:
        """tls_ca: the authorities to trust; None for gRPC without TLS."""
        arguments = {
            **channel_options(addresses[0]),
            "grpc.service_config": json.dumps(SERVICE_CONFIG),
        }
        target = addresses[0] if len(addresses) == 1 else f"ipv4:{','.join(addresses)}"
        # With TLS, the certificate of each server must be for the first one's name.
        name = addresses[0].removeprefix("dns:///")
        options = [*arguments.items(), ("grpc.default_authority", name)]
        if tls_ca:
            credentials = grpc.ssl_channel_credentials(tls_ca.read_bytes())
            self._channel = grpc.aio.secure_channel(target, credentials, options)
        else:
            self._channel = grpc.aio.insecure_channel(target, options)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        self._calls = UncancelledCalls()

    async def close(self) -> None:
        await self._calls.finish(CANCEL_SECONDS)
        await self._channel.close()

    async def draw(
        self, request: GenerationRequest, request_id: str, seconds: float
    ) -> list[Picture]:
        """The finished pictures. Raises ApiError, after at most `seconds` and a grace period."""
        call = TritonRequest(request.model, request.tensors(), OUTPUTS, request_id)
        with self._cancel_if_abandoned(request_id), _as_api_errors():
            response = await self._calls.response(
                self._stub.ModelInfer(
                    request_message(call, seconds), timeout=seconds + GRACE_SECONDS
                )
            )
        return pictures_from(request.prompts, output_tensors(call, response))

    async def stream(
        self, request: GenerationRequest, request_id: str, seconds: float, preview_every: int
    ) -> AsyncGenerator[Preview, None]:
        """A preview after every `preview_every` steps. The last one is final. Raises ApiError."""
        every = tensor("preview_every", INT32, preview_every)
        inputs = {**request.tensors(), "preview_every": every}
        call = TritonRequest("stable_diffusion_stream", inputs, STREAM_OUTPUTS, request_id)
        with self._cancel_if_abandoned(request_id), _as_api_errors():
            streaming = self._stub.ModelStreamInfer(
                _once(request_message(call, seconds)), timeout=seconds + GRACE_SECONDS
            )
            async with contextlib.aclosing(self._calls.responses(streaming)) as responses:
                async for response in responses:
                    if response.error_message:
                        raise ApiError.from_triton("UNKNOWN", response.error_message)
                    outputs = output_tensors(call, response.infer_response)
                    preview = preview_from(request.prompts, outputs)
                    if preview.is_final:
                        break
                    yield preview
                else:
                    raise ApiError(500, "the stream ended before the final pictures")
        yield preview

    async def cancel(self, request_id: str) -> bool:
        """Whether Triton knew the request. Raises ApiError."""
        inputs = {"request_id": tensor("request_id", BYTES, request_id)}
        call = TritonRequest("cancel", inputs, ("found",))
        with _as_api_errors():
            response = await self._stub.ModelInfer(
                request_message(call, CANCEL_SECONDS), timeout=CANCEL_SECONDS
            )
        return bool(output_tensors(call, response)["found"].item())

    @contextlib.contextmanager
    def _cancel_if_abandoned(self, request_id: str) -> Iterator[None]:
        try:
            yield
        except (asyncio.CancelledError, GeneratorExit):
            self._calls.start(self._cancel_ignoring_errors(request_id))
            raise

    async def _cancel_ignoring_errors(self, request_id: str) -> None:
        with contextlib.suppress(ApiError):
            await self.cancel(request_id)


async def _once(request: Any) -> AsyncIterator[Any]:
    yield request


@contextlib.contextmanager
def _as_api_errors() -> Iterator[None]:
    try:
        yield
    except grpc.RpcError as error:
        raise ApiError.from_triton(error.code().name, error.details() or "") from error

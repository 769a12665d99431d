"""The gRPC transport."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
from tritonclient.grpc import InferResult, service_pb2, service_pb2_grpc
from tritonclient.utils import np_to_triton_dtype, serialize_byte_tensor

from relay_client.errors import AddressError, RequestError, no_server
from relay_client.transport import GRACE_SECONDS, Tensors, TritonRequest, address

LOOPBACK = ("127.0.0.1", "localhost", "::1")
CHANNEL_OPTIONS = {
    "grpc.max_receive_message_length": -1,
    # By default gRPC waits longer before it reconnects than our retries wait.
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 1000,
}


def channel_options(target: str) -> dict[str, int]:
    """The options of a channel to `target`: loopback is never asked through a proxy."""
    host = target.rpartition(":")[0].strip("[]")
    return {**CHANNEL_OPTIONS, **({"grpc.enable_http_proxy": 0} if host in LOOPBACK else {})}


class GrpcTransport:
    """Sends requests to Triton over gRPC.

    tls_ca: a PEM file with the trusted authorities; without one, the connection is not encrypted.
    """

    def __init__(self, url: str = "", tls_ca: str = "") -> None:
        self.url = address(url, "GRPC", "127.0.0.1:8001")
        if re.match("https?://", self.url):
            raise AddressError(f"gRPC takes host:port, got {self.url}; --http (http=True) takes it")
        trusted, options = channel_credentials(tls_ca), list(channel_options(self.url).items())
        self._channel = (
            grpc.secure_channel(self.url, trusted, options)
            if trusted
            else grpc.insecure_channel(self.url, options)
        )
        self._triton = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)

    def close(self) -> None:
        self._channel.close()

    def infer(self, request: TritonRequest, seconds: float) -> Tensors:
        with self._errors():
            response = self._triton.ModelInfer(
                request_message(request, seconds), timeout=seconds + GRACE_SECONDS
            )
        return output_tensors(request, response)

    def stream(self, request: TritonRequest, seconds: float) -> Iterator[Tensors]:
        responses = self._triton.ModelStreamInfer(
            iter([request_message(request, seconds)]), timeout=seconds + GRACE_SECONDS
        )
        try:
            with self._errors():
                for response in responses:
                    if response.error_message:
                        raise RequestError("UNKNOWN", response.error_message)
                    yield output_tensors(request, response.infer_response)
        finally:
            responses.cancel()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except grpc.RpcError as error:
            code, details = error.code().name, error.details() or ""
            # gRPC reports UNAVAILABLE both for a busy server and for none at all.
            if code == "UNAVAILABLE" and not self._is_alive():
                match = re.search(r"Connection \w+|Socket closed", details)
                reason = match.group() if match else "no connection"
                raise no_server(self.url, reason) from error
            if code == "DEADLINE_EXCEEDED":
                raise TimeoutError(f"no answer from {self.url} in time") from error
            raise RequestError(code, details) from error

    def _is_alive(self) -> bool:
        try:
            return bool(self._triton.ServerLive(service_pb2.ServerLiveRequest(), timeout=1).live)
        except grpc.RpcError:
            return False


def channel_credentials(tls_ca: str = "") -> Any:
    """Returns credentials with the authorities of a PEM file; None for an unencrypted channel."""
    file = tls_ca or os.environ.get("TRITON_TLS_CA", "")
    return grpc.ssl_channel_credentials(Path(file).read_bytes()) if file else None


def request_message(request: TritonRequest, seconds: float) -> Any:
    """Returns the ModelInferRequest. seconds: Triton's own deadline for it."""
    message = service_pb2.ModelInferRequest(model_name=request.model, id=request.request_id)
    message.parameters["timeout"].int64_param = int(seconds * 1e6)
    # Without this, an error in a stream is a text without its code.
    message.parameters["error_codes"].bool_param = True
    for name, array in request.inputs.items():
        datatype = np_to_triton_dtype(array.dtype)
        message.inputs.add(name=name, datatype=datatype, shape=array.shape)
        if datatype == "BYTES":
            array = serialize_byte_tensor(array)
            message.raw_input_contents.append(
                b"".join(array.ravel())
            )  # an empty tensor has no bytes
        else:
            message.raw_input_contents.append(array.tobytes())
    for name in request.outputs:
        message.outputs.add(name=name)
    return message


def output_tensors(request: TritonRequest, response: Any) -> Tensors:
    """Returns the requested outputs of a ModelInferResponse."""
    result = InferResult(response)
    return {name: result.as_numpy(name) for name in request.outputs}

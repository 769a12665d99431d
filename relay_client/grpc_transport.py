"""Triton over gRPC."""

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
from relay_client.transport import GRACE_SECONDS, Call, Tensors, address

CHANNEL = {
    "grpc.max_receive_message_length": -1,
    # By default gRPC waits longer before it connects again than we do before we ask again.
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 1000,
}


class GrpcTransport:
    """tls_ca: a PEM file with the authorities to trust; without one, gRPC is plain."""

    def __init__(self, url: str = "", tls_ca: str = "") -> None:
        self.url = address(url, "GRPC", "127.0.0.1:8001")
        if re.match("https?://", self.url):
            raise AddressError(f"gRPC takes host:port, got {self.url}; --http (http=True) takes it")
        trusted, options = credentials(tls_ca), list(CHANNEL.items())
        self._channel = (
            grpc.secure_channel(self.url, trusted, options)
            if trusted
            else grpc.insecure_channel(self.url, options)
        )
        self._triton = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)

    def close(self) -> None:
        self._channel.close()

    def infer(self, call: Call, seconds: float) -> Tensors:
        with self._errors():
            answer = self._triton.ModelInfer(
                message(call, seconds), timeout=seconds + GRACE_SECONDS
            )
        return tensors(call, answer)

    def stream(self, call: Call, seconds: float) -> Iterator[Tensors]:
        answers = self._triton.ModelStreamInfer(
            iter([message(call, seconds)]), timeout=seconds + GRACE_SECONDS
        )
        try:
            with self._errors():
                for answer in answers:
                    if answer.error_message:
                        raise RequestError("UNKNOWN", answer.error_message)
                    yield tensors(call, answer.infer_response)
        finally:
            answers.cancel()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except grpc.RpcError as error:
            code, details = error.code().name, error.details() or ""
            # gRPC says UNAVAILABLE for a busy server and for none at all.
            if code == "UNAVAILABLE" and not self._is_alive():
                said = re.search(r"Connection \w+|Socket closed", details)
                reason = said.group() if said else "no connection"
                raise no_server(self.url, reason) from error
            if code == "DEADLINE_EXCEEDED":
                raise TimeoutError(f"no answer from {self.url} in time") from error
            raise RequestError(code, details) from error

    def _is_alive(self) -> bool:
        try:
            return bool(self._triton.ServerLive(service_pb2.ServerLiveRequest(), timeout=1).live)
        except grpc.RpcError:
            return False


def credentials(tls_ca: str = "") -> Any:
    """None where gRPC is to be plain."""
    file = tls_ca or os.environ.get("TRITON_TLS_CA", "")
    return grpc.ssl_channel_credentials(Path(file).read_bytes()) if file else None


def message(call: Call, seconds: float) -> Any:
    request = service_pb2.ModelInferRequest(model_name=call.model, id=call.request_id)
    request.parameters["timeout"].int64_param = int(seconds * 1e6)
    # Else a stream tells an error as a text without its code.
    request.parameters["error_codes"].bool_param = True
    for name, array in call.inputs.items():
        datatype = np_to_triton_dtype(array.dtype)
        request.inputs.add(name=name, datatype=datatype, shape=array.shape)
        if datatype == "BYTES":
            array = serialize_byte_tensor(array)
            request.raw_input_contents.append(b"".join(array.ravel()))  # of no items: nothing
        else:
            request.raw_input_contents.append(array.tobytes())
    for name in call.outputs:
        request.outputs.add(name=name)
    return request


def tensors(call: Call, answer: Any) -> Tensors:
    result = InferResult(answer)
    return {name: result.as_numpy(name) for name in call.outputs}

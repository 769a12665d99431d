"""Sends requests to Triton, and judges whether each answer is acceptable."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import grpc
import urllib3
from tritonclient.grpc import service_pb2_grpc

from relay_client.errors import parse_error
from relay_client.grpc_transport import CHANNEL_OPTIONS
from relay_client.http_transport import HEADER_LENGTH, error_text
from tests.fuzz.requests import GrpcRequest, HttpRequest

HANG_SECONDS = 60.0
# Success and refusals. UNAVAILABLE answers a request whose own deadline is in the past.
ACCEPTABLE = {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "UNIMPLEMENTED", "CANCELLED", "UNAVAILABLE"}
STATUSES = {
    200: "OK",
    400: "INVALID_ARGUMENT",
    404: "NOT_FOUND",
    499: "CANCELLED",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
}
# Errors that tritonserver 2.51 itself calls INTERNAL, or 500, although the request is invalid.
TRITON_ERRORS = re.compile(
    r"failed to parse the request JSON|[Uu]nable to parse|attempt to (access|get) |"
    r"unexpected (deadlock|explicit)"
)
BUSY = re.compile(r"in flight, the limit|queue is full|no replica left|Socket closed|connect")


class Verdict(NamedTuple):
    """code: gRPC's name of the status. wrong: why the answer is a finding, or ""."""

    code: str
    details: str
    wrong: str = ""

    @classmethod
    def of(cls, code: str, details: str) -> Verdict:
        if code == "DEADLINE_EXCEEDED":
            return cls(code, details, f"no answer in {HANG_SECONDS:g} s")
        if code == "UNAVAILABLE" and BUSY.search(details):
            return cls(code, details, "unavailable to one who is alone")
        if code not in ACCEPTABLE and not TRITON_ERRORS.search(details):
            return cls(code, details, "an error of ours")
        return cls(code, details)


class Triton:
    """Clients of Triton's gRPC and HTTP ports."""

    def __init__(self, grpc_url: str, http_url: str) -> None:
        self._channel = grpc.insecure_channel(grpc_url, options=list(CHANNEL_OPTIONS.items()))
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        self._pool = urllib3.PoolManager()
        self._http = f"http://{http_url}/v2/models"

    def call(self, request: GrpcRequest) -> Verdict:
        try:
            return self._stream(request) if request.streams else self._infer(request)
        except grpc.RpcError as error:
            return Verdict.of(error.code().name, error.details() or "")

    def _infer(self, request: GrpcRequest) -> Verdict:
        self._stub.ModelInfer(request.message(), timeout=HANG_SECONDS)
        return Verdict.of("OK", "")

    def _stream(self, request: GrpcRequest) -> Verdict:
        verdict = Verdict.of("OK", "")
        answers: Any = self._stub.ModelStreamInfer(iter([request.message()]), timeout=HANG_SECONDS)
        for answer in answers:
            if answer.error_message:
                verdict = Verdict.of(*parse_error("INVALID_ARGUMENT", answer.error_message))
        return verdict

    def post(self, request: HttpRequest) -> Verdict:
        headers = {} if request.length is None else {HEADER_LENGTH: str(request.length)}
        try:
            answer = self._pool.request(
                "POST",
                f"{self._http}/{request.path}",
                body=request.body,
                headers=headers,
                timeout=HANG_SECONDS,
                retries=False,
            )
        except urllib3.exceptions.TimeoutError as error:
            return Verdict.of("DEADLINE_EXCEEDED", str(error))
        except urllib3.exceptions.HTTPError as error:
            return Verdict.of("UNAVAILABLE", f"connection: {error}")
        if answer.status == 200:
            return Verdict.of("OK", "")
        code = STATUSES.get(answer.status, f"HTTP {answer.status}")
        return Verdict.of(code, error_text(answer.data))

"""What came back, and whether it was right to come back."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import grpc
import urllib3
from tritonclient.grpc import service_pb2_grpc

from relay_client.errors import told
from relay_client.grpc_transport import CHANNEL
from relay_client.http_transport import HEADER_LENGTH, error_text
from tests.fuzz.requests import Asked, Posted

HANG_SECONDS = 60.0
# Refusals; UNAVAILABLE is a deadline that the request itself brought along, in the past.
FINE = {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "UNIMPLEMENTED", "CANCELLED", "UNAVAILABLE"}
STATUSES = {
    200: "OK",
    400: "INVALID_ARGUMENT",
    404: "NOT_FOUND",
    499: "CANCELLED",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
}
# What tritonserver 2.51 itself calls INTERNAL, or 500, though the request is at fault.
TRITONS_OWN = re.compile(
    r"failed to parse the request JSON|[Uu]nable to parse|attempt to (access|get) |"
    r"unexpected (deadlock|explicit)"
)
BUSY = re.compile(r"in flight, the limit|queue is full|no replica left|Socket closed|connect")


class Verdict(NamedTuple):
    """code: as gRPC calls it; wrong: why it should not have come."""

    code: str
    details: str
    wrong: str = ""

    @classmethod
    def of(cls, code: str, details: str) -> Verdict:
        if code == "DEADLINE_EXCEEDED":
            return cls(code, details, f"no answer in {HANG_SECONDS:g} s")
        if code == "UNAVAILABLE" and BUSY.search(details):
            return cls(code, details, "unavailable to one who is alone")
        if code not in FINE and not TRITONS_OWN.search(details):
            return cls(code, details, "an error of ours")
        return cls(code, details)


class Triton:
    """Both of its ports."""

    def __init__(self, grpc_url: str, http_url: str) -> None:
        self._channel = grpc.insecure_channel(grpc_url, options=list(CHANNEL.items()))
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        self._pool = urllib3.PoolManager()
        self._http = f"http://{http_url}/v2/models"

    def ask(self, asked: Asked) -> Verdict:
        try:
            return self._stream(asked) if asked.streams else self._infer(asked)
        except grpc.RpcError as error:
            return Verdict.of(error.code().name, error.details() or "")

    def _infer(self, asked: Asked) -> Verdict:
        self._stub.ModelInfer(asked.message(), timeout=HANG_SECONDS)
        return Verdict.of("OK", "")

    def _stream(self, asked: Asked) -> Verdict:
        said = Verdict.of("OK", "")
        answers: Any = self._stub.ModelStreamInfer(iter([asked.message()]), timeout=HANG_SECONDS)
        for answer in answers:
            if answer.error_message:
                said = Verdict.of(*told("INVALID_ARGUMENT", answer.error_message))
        return said

    def post(self, posted: Posted) -> Verdict:
        headers = {} if posted.length is None else {HEADER_LENGTH: str(posted.length)}
        try:
            answer = self._pool.request(
                "POST",
                f"{self._http}/{posted.path}",
                body=posted.body,
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

"""Hostile requests: the gateway refuses them with a message, and none of them reaches Triton."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.api.schemas import CreateJobRequest
from gateway.drawing.triton_client import OUTPUTS
from gateway.errors import ApiError
from relay_client.grpc_transport import request_message
from relay_client.transport import TritonRequest
from tests.support.fake_triton_server import FakeTriton
from tests.support.gateways import RunningGateway

DEEP = 100_000
JSON = "application/json"
FORM = "multipart/form-data; boundary=x"
PART = b'--x\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n'


BODIES = [
    (JSON, b"[" * DEEP),
    (JSON, b'{"prompt":' * DEEP + b"1" + b"}" * DEEP),
    (JSON, b'{"prompt": "a", "steps": ' + b"9" * 5000 + b"}"),
    (JSON, b'{"prompt": "a", "guidance_scale": 1e999}'),
    (JSON, b'{"prompt": "a", "guidance_scale": NaN}'),
    (JSON, b'{"prompt": "\\ud800"}'),
    (JSON, b'{"prompt": "a", "prompt": ["b"]}'),
    (JSON, b'{"prompt": "\xff\xfe"}'),
    (JSON, b"\xff\xfe\x00\x00"),
    *((JSON, body) for body in (b"\x00", b"null", b'"a"', b"")),
    ("text/plain", b'{"prompt": "a"}'),
    (JSON + "; charset=utf-16", '{"prompt": "a"}'.encode("utf-16")[:7]),
    ("multipart/form-data", b"--x--"),
    (FORM, b"--x\r\n"),
    (FORM, PART % (b"prompt", b"a") * 2000 + b"--x--\r\n"),
    (FORM, PART % (b"prompt", b"\xff") + b"--x--\r\n"),
]
QUERIES = [
    *("", "prompt=a&seed=1e3", "prompt=a&steps=" + "9" * 5000, "prompt=a&width=-1x"),
    *("prompt=a&guidance=nan", "prompt=a&guidance_scale=inf", "prompt=a&seed=-1"),
    *(f"prompt=a&seed={2**63}", f"prompt=a&width={2**31}", "prompt=%20&steps=x"),
]
PATHS = [
    *("/v1/jobs/%00", "/v1/jobs/a%2fb", "/v1/jobs/%ff", "/v1/models/%00"),
    *("/v1/jobs/x/images/9999999999999999999999", "/v1/images/files/..%2f..%2fetc%2fpasswd"),
    *("/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/docs/assets/..%2f..%2fx"),
]


@pytest.mark.parametrize("path", ["images/generations", "images/edits", "jobs"])
def test_hostile_bodies(gateway: RunningGateway, fake_triton: FakeTriton, path: str) -> None:
    for kind, body in BODIES:
        answer = gateway.http.post(f"/v1/{path}", content=body, headers={"Content-Type": kind})
        assert answer.status_code == 400, (kind, body[:50], answer.text)
        assert answer.json()["error"]["message"]
    assert not fake_triton.requests


def test_hostile_queries(gateway: RunningGateway, fake_triton: FakeTriton) -> None:
    for query in QUERIES:
        answer = gateway.http.get(f"/imagine?{query}")
        assert answer.status_code == 400, (query[:50], answer.text)
    assert not fake_triton.requests


def test_hostile_paths(gateway: RunningGateway) -> None:
    """Sent over a socket, since HTTP libraries normalise paths."""
    for path in PATHS:
        with gateway.socket() as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            assert connection.recv(12) in (b"HTTP/1.1 404", b"HTTP/1.1 400"), path


def test_an_empty_picture_is_refused_in_triton_as_any_other(gateway: RunningGateway) -> None:
    answer = gateway.http.post("/v1/jobs", json={"prompt": "a", "image": "", "seed": 1})
    assert answer.status_code == 202, answer.text


VALUES: dict[str, Callable[[], st.SearchStrategy[Any]]] = {
    "prompt": lambda: st.text(max_size=50),
    "negative_prompt": lambda: st.text(max_size=50),
    "seed": lambda: st.integers(0, 2**63 - 1),
    "steps": lambda: st.integers(-(2**31), 2**31 - 1),
    "guidance_scale": lambda: st.floats(allow_nan=False, allow_infinity=False),
    "scheduler": lambda: st.text(max_size=50),
    "n": lambda: st.integers(1, 10),
    "size": lambda: st.from_regex(r"\d{1,5}x\d{1,5}", fullmatch=True),
    "priority": lambda: st.integers(-(2**31), 2**31 - 1),
    "strength": lambda: st.floats(allow_nan=False, allow_infinity=False),
    "image": lambda: st.sampled_from(["", "AAAA", "data:image/png;base64,iVBORw0K"]),
    "classification": lambda: st.integers(),
    "parameters": lambda: st.dictionaries(st.text(max_size=5), st.integers()),
}


@given(st.fixed_dictionaries({}, optional={name: value() for name, value in VALUES.items()}))
def test_no_request_can_crash_the_wheels_tritonserver(fields: dict[str, Any]) -> None:
    """No parameter comes from a client, and no tensor has more than ten elements (SECURITY.md)."""
    try:
        body = CreateJobRequest.model_validate_json(json.dumps({"prompt": "a", **fields}))
        generation = body.generation_request()
        call = TritonRequest(generation.model, generation.tensors(), OUTPUTS, "mine")
        request = request_message(call, 1.0)
    except (ApiError, ValidationError):
        return
    assert sorted(request.parameters) == ["error_codes", "timeout"]
    for tensor in (*request.inputs, *request.outputs):
        assert not tensor.parameters
    for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True):
        assert 1 <= math.prod(tensor.shape) <= 10
        assert len(raw) <= 1000


def test_the_documentation_promises_what_is_sent(gateway: RunningGateway) -> None:
    """Clients and fuzzers are generated from it."""
    for path, operations in gateway.http.get("/openapi.json").json()["paths"].items():
        for operation in operations.values():
            assert {"4XX", "5XX"} <= operation["responses"].keys(), path
            assert "422" not in operation["responses"], path


def test_fuzz_by_the_gateways_own_openapi(gateway: RunningGateway, tmp_path: Path) -> None:
    """A few of the cases of `make fuzz`."""
    pytest.importorskip("schemathesis", reason="needs Python 3.11")
    from tests.fuzz import gateway as fuzz
    from tests.fuzz.findings import Findings

    findings = Findings(tmp_path / "findings.json")
    sender = fuzz.Sender(gateway.url, findings)
    for operation in sender.operations:
        sender.send(operation, 5, seed=1)
    assert findings.cases >= 5 * len(sender.operations)
    assert not findings.wrong

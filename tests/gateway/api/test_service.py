"""The routes for operators: health, readiness, metrics; and the log, documentation and headers."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from gateway.keys import new_key
from tests.support.fake_triton_server import FakeTriton, TritonError
from tests.support.gateways import RunningGateway
from tests.support.waiting import wait_until


def test_alive_costs_nothing(gateway: RunningGateway, fake_triton: FakeTriton) -> None:
    fake_triton.stop()
    for path in ("/healthz", "/livez"):
        assert gateway.http.get(path).json() == {"status": "ok"}
    assert not fake_triton.requests


def test_ready_when_a_tiny_picture_goes_through(
    gateway: RunningGateway, fake_triton: FakeTriton
) -> None:
    assert [gateway.http.get("/readyz").status_code for _ in range(3)] == [200] * 3
    [request] = fake_triton.requests
    sizes = [request.inputs[name].values for name in ("width", "height", "steps")]
    assert sizes == [[64], [64], [1]]


def test_not_ready_and_ready_again(
    start_gateway: Callable[..., RunningGateway], fake_triton: FakeTriton
) -> None:
    gateway = start_gateway(ready_seconds=0)
    fake_triton.errors = [TritonError("UNAVAILABLE", "no replica left")] * 4
    answer = gateway.http.get("/readyz")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["error"]["message"] == "not ready: no replica left"
    assert wait_until(lambda: gateway.http.get("/readyz").status_code == 200)
    fake_triton.stop()
    assert gateway.http.get("/readyz").status_code == 503


def test_metrics(start_gateway: Callable[..., RunningGateway]) -> None:
    gateway = start_gateway(jobs_at_once=0)
    for _ in range(2):
        gateway.http.get("/imagine", params={"prompt": "a", "seed": 1})
    gateway.http.get("/imagine")
    gateway.http.post("/v1/jobs", json={"prompt": "a"})
    gateway.http.get("/v1/jobs/unknown")
    gateway.http.get("/no/such/path")
    text = gateway.http.get("/metrics").text
    for line in (
        'gateway_requests_total{route="/imagine",status="200"} 2.0',
        'gateway_requests_total{route="/imagine",status="400"} 1.0',
        'gateway_requests_total{route="/v1/jobs/{id}",status="404"} 1.0',
        'gateway_requests_total{route="other",status="404"} 1.0',
        "gateway_pictures_total 1.0",
        "gateway_cache_hits_total 1.0",
        'gateway_jobs{status="queued"} 1.0',
        'gateway_jobs{status="running"} 0.0',
        "gateway_in_flight 1.0",
        'gateway_request_seconds_count{route="/imagine"} 3.0',
    ):
        assert line in text, line


def test_documentation(gateway: RunningGateway) -> None:
    """Its examples are valid requests, and it loads nothing from other servers."""
    page = gateway.http.get("/docs").text
    assert "//" not in "".join(re.findall(r'(?:src|href)="([^"]+)"', page))
    document = gateway.http.get("/openapi.json").json()
    paths = document["paths"]
    assert {"/imagine", "/v1/images/generations", "/v1/images/edits", "/v1/jobs"} <= set(paths)
    for name in ("CreateImageRequest", "CreateJobRequest"):
        example = document["components"]["schemas"][name]["example"]
        path = "/v1/jobs" if name == "CreateJobRequest" else "/v1/images/generations"
        assert gateway.http.post(path, json=example).status_code in (200, 202)


def test_readiness_tells_of_keys_that_cannot_be_read(
    start_gateway: Callable[..., RunningGateway], tmp_path: Path
) -> None:
    """Such a gateway serves on, with the keys that it has."""
    key, line = new_key()
    file = tmp_path / "keys"
    file.write_text(line)
    gateway = start_gateway(api_keys_file=file)
    assert gateway.http.get("/readyz").json() == {"status": "ready"}
    file.unlink()
    answer = gateway.http.get("/v1/models", headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 200
    ready = gateway.http.get("/readyz")
    assert ready.status_code == 200
    assert "API_KEYS_FILE" in ready.json()["warning"]

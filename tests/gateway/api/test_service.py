"""For those who look after it: health, readiness, metrics, log, documentation, headers."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable

import pytest

from gateway.drawing.served_model import Checkpoint
from tests.support.fake_triton_server import FakeTriton, Refusal
from tests.support.gateways import Front
from tests.support.waiting import wait_until


def test_alive_costs_nothing(front: Front, drawing: FakeTriton) -> None:
    drawing.stop()
    for path in ("/healthz", "/livez"):
        assert front.http.get(path).json() == {"status": "ok"}
    assert not drawing.seen


def test_ready_when_a_tiny_picture_goes_through(front: Front, drawing: FakeTriton) -> None:
    assert [front.http.get("/readyz").status_code for _ in range(3)] == [200] * 3
    [request] = drawing.seen
    sizes = [request.inputs[name].values for name in ("width", "height", "steps")]
    assert sizes == [[64], [64], [1]]


def test_not_ready_and_ready_again(open_front: Callable[..., Front], drawing: FakeTriton) -> None:
    front = open_front(ready_seconds=0)
    drawing.refusals = [Refusal("UNAVAILABLE", "no replica left")] * 4
    answer = front.http.get("/readyz")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["error"]["message"] == "not ready: no replica left"
    assert wait_until(lambda: front.http.get("/readyz").status_code == 200)
    drawing.stop()
    assert front.http.get("/readyz").status_code == 503


def test_what_is_counted(open_front: Callable[..., Front]) -> None:
    front = open_front(jobs_at_once=0)
    for _ in range(2):
        front.http.get("/imagine", params={"prompt": "a", "seed": 1})
    front.http.get("/imagine")
    front.http.post("/v1/jobs", json={"prompt": "a"})
    front.http.get("/v1/jobs/unknown")
    front.http.get("/no/such/path")
    text = front.http.get("/metrics").text
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


def test_a_line_a_request_without_what_was_said(
    front: Front, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "gateway.middleware.access_log"):
        headers = {"X-Request-Id": "tuesday"}
        answer = front.http.get("/imagine", params={"prompt": "a secret"}, headers=headers)
        assert answer.headers["x-request-id"] == "tuesday"
        front.http.get("/a/secret")
        assert wait_until(lambda: len(caplog.records) == 2)
    lines = [json.loads(record.getMessage()) for record in caplog.records]
    assert lines[0]["request_id"] == "tuesday"
    told = [lines[0][part] for part in ("route", "status", "caller")]
    assert told == ["/imagine", 200, "anyone"]
    assert (lines[1]["route"], lines[1]["status"]) == ("other", 404)
    assert "secret" not in caplog.text


def test_two_requests_of_one_name_are_two_for_triton(front: Front, drawing: FakeTriton) -> None:
    for _ in range(2):
        front.http.get("/imagine", params={"prompt": "a"}, headers={"X-Request-Id": "tuesday"})
    ids = {request.id for request in drawing.seen}
    assert len(ids) == 2
    assert all(re.fullmatch(r"tuesday\.[0-9a-f]{8}", id) for id in ids)


@pytest.mark.parametrize("path", ["/healthz", "/imagine", "/nothing", "/docs"])
def test_what_a_browser_is_told(front: Front, path: str) -> None:
    headers = front.http.get(path).headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-request-id"]
    assert "server" not in headers


def test_a_bug_is_told_as_one(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Checkpoint, "card", property(fail))
    answer = front.http.get("/v1/models")
    assert answer.status_code == 500
    assert answer.headers["x-request-id"] in answer.json()["error"]["message"]
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_documentation(front: Front) -> None:
    """With examples that are requests, and nothing from elsewhere."""
    page = front.http.get("/docs").text
    assert "//" not in "".join(re.findall(r'(?:src|href)="([^"]+)"', page))
    document = front.http.get("/openapi.json").json()
    paths = document["paths"]
    assert {"/imagine", "/v1/images/generations", "/v1/images/edits", "/v1/jobs"} <= set(paths)
    for name in ("Generation", "Submission"):
        example = document["components"]["schemas"][name]["example"]
        path = "/v1/jobs" if name == "Submission" else "/v1/images/generations"
        assert front.http.post(path, json=example).status_code in (200, 202)

"""Request ids, the access log, and the answers to uncaught errors."""

from __future__ import annotations

import json
import logging
import re

import pytest

from gateway.drawing.served_model import ServedModel
from tests.support.fake_triton_server import FakeTriton
from tests.support.gateways import RunningGateway
from tests.support.waiting import wait_until


def test_one_log_line_a_request_without_its_prompt(
    gateway: RunningGateway, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "gateway.middleware.access_log"):
        headers = {"X-Request-Id": "tuesday"}
        answer = gateway.http.get("/imagine", params={"prompt": "a secret"}, headers=headers)
        assert answer.headers["x-request-id"] == "tuesday"
        gateway.http.get("/a/secret")
        assert wait_until(lambda: len(caplog.records) == 2)
    lines = [json.loads(record.getMessage()) for record in caplog.records]
    assert lines[0]["request_id"] == "tuesday"
    told = [lines[0][part] for part in ("route", "status", "caller")]
    assert told == ["/imagine", 200, "anyone"]
    assert (lines[1]["route"], lines[1]["status"]) == ("other", 404)
    assert "secret" not in caplog.text


def test_two_requests_with_one_id_have_two_ids_in_triton(
    gateway: RunningGateway, fake_triton: FakeTriton
) -> None:
    for _ in range(2):
        gateway.http.get("/imagine", params={"prompt": "a"}, headers={"X-Request-Id": "tuesday"})
    ids = {request.id for request in fake_triton.requests}
    assert len(ids) == 2
    assert all(re.fullmatch(r"tuesday\.[0-9a-f]{8}", id) for id in ids)


def test_a_bug_is_a_500_with_the_request_id(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(ServedModel, "card", property(fail))
    answer = gateway.http.get("/v1/models")
    assert answer.status_code == 500
    assert answer.headers["x-request-id"] in answer.json()["error"]["message"]
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("name", ["a" * 200, "x y", "ä", 'a"}'])
def test_an_unsafe_request_id_is_replaced(gateway: RunningGateway, name: str) -> None:
    answer = gateway.http.get("/healthz", headers={b"X-Request-Id": name.encode()})
    assert answer.headers["x-request-id"].isalnum()

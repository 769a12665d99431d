"""HEAD, and methods and paths that are not offered."""

from __future__ import annotations

import pytest

from tests.support.fake_triton_server import FakeTriton
from tests.support.gateways import RunningGateway


def test_head_has_the_headers_of_get(gateway: RunningGateway, fake_triton: FakeTriton) -> None:
    job = gateway.http.post("/v1/jobs", json={"prompt": "a", "seed": 1}).json()["id"]
    gateway.wait_for_job(job)
    documented = gateway.http.get("/openapi.json").json()["paths"]
    paths = {path for path, methods in documented.items() if "get" in methods}
    missing = {"/v1/images/files/{id}", "/imagine"}
    for path in [*sorted(paths - missing), "/", "/docs", "/openapi.json"]:
        url = path.replace("{id}", job if "jobs" in path else "miniature").replace("{index}", "0")
        answers = [gateway.http.request(method, url) for method in ("HEAD", "GET")]
        assert [answer.status_code for answer in answers] == [200, 200], path
        kinds = {answer.headers["content-type"].partition(";")[0] for answer in answers}
        assert len(kinds) == 1, path
        assert not answers[0].content


def test_head_of_a_picture_draws_nothing(gateway: RunningGateway, fake_triton: FakeTriton) -> None:
    answer = gateway.http.head("/imagine", params={"prompt": "a", "seed": 7})
    assert (answer.status_code, answer.headers["x-seed"]) == (200, "7")
    assert answer.headers["content-type"] == "image/png"
    assert gateway.http.head("/imagine", params={"prompt": "a", "step": 7}).status_code == 400
    assert not fake_triton.requests


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/images/variations", "/nowhere"])
def test_what_is_not_offered(gateway: RunningGateway, path: str) -> None:
    answer = gateway.http.post(path, files={"image": b"x"})
    assert answer.status_code == 404
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert ("/v1/images/edits" in answer.text) == path.endswith("variations")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/images/generations", "POST"),
        ("PUT", "/v1/jobs", "POST"),
        ("DELETE", "/healthz", "GET"),
    ],
)
def test_another_method(gateway: RunningGateway, method: str, path: str, allowed: str) -> None:
    answer = gateway.http.request(method, path)
    assert answer.status_code == 405
    assert answer.headers["allow"] == allowed

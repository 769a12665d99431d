"""Authentication by key."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway.keys import new_key
from tests.support.gateways import RunningGateway

KEY, LINE = new_key()
BEARER = {"Authorization": f"Bearer {KEY}"}
A = {"prompt": "a"}
GENERATIONS = "/v1/images/generations"


@pytest.fixture
def locked(start_gateway: Callable[..., RunningGateway]) -> RunningGateway:
    return start_gateway(api_keys=(LINE,))


@pytest.mark.parametrize(
    "path",
    [
        *("/v1/models", "/imagine?prompt=a", "/v1/jobs/x", "/v1/jobs/x/events", "/metrics"),
        *("/v1/jobs/x%0A", "/v1/jobs/%0Ax/events", "/v1/models/%0A"),
    ],
)
def test_what_needs_a_key(locked: RunningGateway, path: str) -> None:
    for said in (None, "Bearer lr-guess", KEY):
        headers = {"Authorization": said} if said else {}
        answer = locked.http.get(path, headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
        assert answer.headers["www-authenticate"] == "Bearer"
    assert locked.http.get(path, headers=BEARER).status_code != 401


def test_what_needs_no_key(locked: RunningGateway) -> None:
    for path in ("/healthz", "/readyz", "/docs", "/openapi.json"):
        assert locked.http.get(path).status_code == 200, path


def test_picture_urls_need_no_key(locked: RunningGateway) -> None:
    answer = locked.http.post(GENERATIONS, json={**A, "response_format": "url"}, headers=BEARER)
    assert locked.http.get(answer.json()["data"][0]["url"]).status_code == 200


def test_responses_behind_a_key_are_private(locked: RunningGateway) -> None:
    answer = locked.http.get("/imagine", params={**A, "seed": 1}, headers=BEARER)
    assert answer.headers["cache-control"].startswith("private")


def test_the_job_of_another_key_is_not_found(start_gateway: Callable[..., RunningGateway]) -> None:
    others, line = new_key()
    gateway = start_gateway(api_keys=(LINE, line), jobs_at_once=0)
    job = gateway.http.post("/v1/jobs", json=A, headers=BEARER).json()
    theirs = {"Authorization": f"Bearer {others}"}
    for method in ("GET", "DELETE"):
        answer = gateway.http.request(method, f"/v1/jobs/{job['id']}", headers=theirs)
        assert answer.status_code == 404
    assert gateway.http.get(f"/v1/jobs/{job['id']}", headers=BEARER).json()["status"] == "queued"

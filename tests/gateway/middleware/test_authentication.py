"""Authentication by key."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.keys import ApiKeys, digest, new_key
from tests.support.fake_triton_server import FakeTriton
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


def test_what_needs_none(locked: RunningGateway) -> None:
    for path in ("/healthz", "/readyz", "/docs", "/openapi.json"):
        assert locked.http.get(path).status_code == 200, path


def test_addresses_of_pictures_are_keys_themselves(locked: RunningGateway) -> None:
    answer = locked.http.post(GENERATIONS, json={**A, "response_format": "url"}, headers=BEARER)
    assert locked.http.get(answer.json()["data"][0]["url"]).status_code == 200


def test_behind_a_key_nothing_is_public(locked: RunningGateway) -> None:
    answer = locked.http.get("/imagine", params={**A, "seed": 1}, headers=BEARER)
    assert answer.headers["cache-control"].startswith("private")


def test_anothers_job_is_not_there(start_gateway: Callable[..., RunningGateway]) -> None:
    others, line = new_key()
    gateway = start_gateway(api_keys=(LINE, line), jobs_at_once=0)
    job = gateway.http.post("/v1/jobs", json=A, headers=BEARER).json()
    theirs = {"Authorization": f"Bearer {others}"}
    for method in ("GET", "DELETE"):
        answer = gateway.http.request(method, f"/v1/jobs/{job['id']}", headers=theirs)
        assert answer.status_code == 404
    assert gateway.http.get(f"/v1/jobs/{job['id']}", headers=BEARER).json()["status"] == "queued"


def test_a_file_of_keys(tmp_path: Path) -> None:
    """A key that is taken out opens nothing from then on."""
    file = tmp_path / "keys"
    file.write_text(f"# phones\n{digest('one')}  phone\n\n{digest('two')}\n")
    keys = ApiKeys((LINE,), file)
    assert keys.name_of("one") == "phone"
    assert keys.name_of("two") == digest("two")[:8]
    assert keys.name_of(KEY) == LINE.split()[1]
    assert keys.name_of("") is keys.name_of("One") is keys.name_of("\udcff") is None
    file.write_text(f"{digest('two')} tablet\n")
    os.utime(file, (1, 1))
    assert keys.name_of("one") is None
    assert keys.name_of("two") == "tablet"


def test_a_key_itself_is_no_line() -> None:
    with pytest.raises(ValueError, match="line 1") as refused:
        ApiKeys((KEY,))
    assert KEY not in str(refused.value)


@pytest.mark.parametrize("host", ["localhost:8080", "127.0.0.1", "[::1]:1", "LOCALHOST"])
def test_our_names(gateway: RunningGateway, host: str) -> None:
    assert gateway.http.get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "localhost.example", ""])
def test_a_name_that_was_made_to_point_here(
    gateway: RunningGateway, locked: RunningGateway, fake_triton: FakeTriton, host: str
) -> None:
    answer = gateway.http.get("/imagine", params=A, headers={"Host": host})
    assert (answer.status_code, answer.json()["error"]["code"]) == (421, "wrong_host")
    assert not fake_triton.requests
    assert locked.http.get("/healthz", headers={"Host": host}).status_code == 200


def test_a_name_of_ones_own(start_gateway: Callable[..., RunningGateway]) -> None:
    gateway = start_gateway(allowed_hosts=("pictures.example",))
    assert gateway.http.get("/healthz", headers={"Host": "pictures.example"}).status_code == 200
    assert gateway.http.get("/healthz").status_code == 421


@pytest.mark.parametrize("origin", ["https://evil.example", "http://127.0.0.1:1", "null"])
def test_another_sites_page(gateway: RunningGateway, fake_triton: FakeTriton, origin: str) -> None:
    for path in (GENERATIONS, "/v1/jobs"):
        answer = gateway.http.post(path, json=A, headers={"Origin": origin})
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "wrong_origin")
    assert not fake_triton.requests


def test_our_own_page(gateway: RunningGateway) -> None:
    headers = {"Origin": gateway.url, "Sec-Fetch-Site": "same-origin"}
    assert gateway.http.post(GENERATIONS, json=A, headers=headers).status_code == 200


def test_a_picture_on_another_sites_page(gateway: RunningGateway) -> None:
    """But to follow a link from there is fine."""
    image = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "image"}
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "document"}
    assert gateway.http.get("/imagine", params=A, headers=image).status_code == 403
    assert gateway.http.get("/imagine", params=A, headers=link).status_code == 200


def test_a_site_that_is_allowed(start_gateway: Callable[..., RunningGateway]) -> None:
    gateway = start_gateway(cors_origins=("https://app.example",))
    headers = {"Origin": "https://app.example"}
    asked = {"Access-Control-Request-Method": "POST"}
    asked["Access-Control-Request-Headers"] = "authorization,content-type,idempotency-key"
    before = gateway.http.options(GENERATIONS, headers={**headers, **asked})
    assert (before.status_code, before.headers["access-control-allow-origin"]) == (
        200,
        "https://app.example",
    )
    answer = gateway.http.post(GENERATIONS, json=A, headers=headers)
    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    assert "X-Seed" in answer.headers["access-control-expose-headers"]
    other = gateway.http.post(GENERATIONS, json=A, headers={"Origin": "https://evil.example"})
    assert other.status_code == 403
    assert "access-control-allow-origin" not in other.headers


def test_how_often(start_gateway: Callable[..., RunningGateway], fake_triton: FakeTriton) -> None:
    _, other = new_key()
    gateway = start_gateway(rate_limit="2/minute", api_keys=(LINE, other))
    statuses = [
        gateway.http.post(GENERATIONS, json=A, headers=BEARER).status_code for _ in range(3)
    ]
    assert statuses == [200, 200, 429]
    refused = gateway.http.get("/imagine", params=A, headers=BEARER)
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert refused.json()["error"]["type"] == "rate_limit_error"
    assert gateway.http.get("/v1/models", headers=BEARER).status_code == 200

"""Who may come in: keys, hosts, other sites' pages, and how often."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.keys import Keys, digest, new_key
from tests.support.fake_triton_server import FakeTriton
from tests.support.gateways import Front

KEY, LINE = new_key()
BEARER = {"Authorization": f"Bearer {KEY}"}
A = {"prompt": "a"}
GENERATIONS = "/v1/images/generations"


@pytest.fixture
def locked(open_front: Callable[..., Front]) -> Front:
    return open_front(api_keys=(LINE,))


@pytest.mark.parametrize(
    "path",
    [
        *("/v1/models", "/imagine?prompt=a", "/v1/jobs/x", "/v1/jobs/x/events", "/metrics"),
        *("/v1/jobs/x%0A", "/v1/jobs/%0Ax/events", "/v1/models/%0A"),
    ],
)
def test_what_needs_a_key(locked: Front, path: str) -> None:
    for said in (None, "Bearer lr-guess", KEY):
        headers = {"Authorization": said} if said else {}
        answer = locked.http.get(path, headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
        assert answer.headers["www-authenticate"] == "Bearer"
    assert locked.http.get(path, headers=BEARER).status_code != 401


def test_what_needs_none(locked: Front) -> None:
    for path in ("/healthz", "/readyz", "/docs", "/openapi.json"):
        assert locked.http.get(path).status_code == 200, path


def test_addresses_of_pictures_are_keys_themselves(locked: Front) -> None:
    answer = locked.http.post(GENERATIONS, json={**A, "response_format": "url"}, headers=BEARER)
    assert locked.http.get(answer.json()["data"][0]["url"]).status_code == 200


def test_behind_a_key_nothing_is_public(locked: Front) -> None:
    answer = locked.http.get("/imagine", params={**A, "seed": 1}, headers=BEARER)
    assert answer.headers["cache-control"].startswith("private")


def test_anothers_job_is_not_there(open_front: Callable[..., Front]) -> None:
    others, line = new_key()
    front = open_front(api_keys=(LINE, line), jobs_at_once=0)
    job = front.http.post("/v1/jobs", json=A, headers=BEARER).json()
    theirs = {"Authorization": f"Bearer {others}"}
    for method in ("GET", "DELETE"):
        answer = front.http.request(method, f"/v1/jobs/{job['id']}", headers=theirs)
        assert answer.status_code == 404
    assert front.http.get(f"/v1/jobs/{job['id']}", headers=BEARER).json()["status"] == "queued"


def test_a_file_of_keys(tmp_path: Path) -> None:
    """A key that is taken out opens nothing from then on."""
    file = tmp_path / "keys"
    file.write_text(f"# phones\n{digest('one')}  phone\n\n{digest('two')}\n")
    keys = Keys((LINE,), file)
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
        Keys((KEY,))
    assert KEY not in str(refused.value)


@pytest.mark.parametrize("host", ["localhost:8080", "127.0.0.1", "[::1]:1", "LOCALHOST"])
def test_our_names(front: Front, host: str) -> None:
    assert front.http.get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "localhost.example", ""])
def test_a_name_that_was_made_to_point_here(
    front: Front, locked: Front, drawing: FakeTriton, host: str
) -> None:
    answer = front.http.get("/imagine", params=A, headers={"Host": host})
    assert (answer.status_code, answer.json()["error"]["code"]) == (421, "wrong_host")
    assert not drawing.seen
    assert locked.http.get("/healthz", headers={"Host": host}).status_code == 200


def test_a_name_of_ones_own(open_front: Callable[..., Front]) -> None:
    front = open_front(allowed_hosts=("pictures.example",))
    assert front.http.get("/healthz", headers={"Host": "pictures.example"}).status_code == 200
    assert front.http.get("/healthz").status_code == 421


@pytest.mark.parametrize("origin", ["https://evil.example", "http://127.0.0.1:1", "null"])
def test_another_sites_page(front: Front, drawing: FakeTriton, origin: str) -> None:
    for path in (GENERATIONS, "/v1/jobs"):
        answer = front.http.post(path, json=A, headers={"Origin": origin})
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "wrong_origin")
    assert not drawing.seen


def test_our_own_page(front: Front) -> None:
    headers = {"Origin": front.url, "Sec-Fetch-Site": "same-origin"}
    assert front.http.post(GENERATIONS, json=A, headers=headers).status_code == 200


def test_a_picture_on_another_sites_page(front: Front) -> None:
    """But to follow a link from there is fine."""
    image = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "image"}
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "document"}
    assert front.http.get("/imagine", params=A, headers=image).status_code == 403
    assert front.http.get("/imagine", params=A, headers=link).status_code == 200


def test_a_site_that_is_allowed(open_front: Callable[..., Front]) -> None:
    front = open_front(cors_origins=("https://app.example",))
    headers = {"Origin": "https://app.example"}
    asked = {"Access-Control-Request-Method": "POST"}
    asked["Access-Control-Request-Headers"] = "authorization,content-type,idempotency-key"
    before = front.http.options(GENERATIONS, headers={**headers, **asked})
    assert (before.status_code, before.headers["access-control-allow-origin"]) == (
        200,
        "https://app.example",
    )
    answer = front.http.post(GENERATIONS, json=A, headers=headers)
    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    assert "X-Seed" in answer.headers["access-control-expose-headers"]
    other = front.http.post(GENERATIONS, json=A, headers={"Origin": "https://evil.example"})
    assert other.status_code == 403
    assert "access-control-allow-origin" not in other.headers


def test_how_often(open_front: Callable[..., Front], drawing: FakeTriton) -> None:
    _, other = new_key()
    front = open_front(rate_limit="2/minute", api_keys=(LINE, other))
    statuses = [front.http.post(GENERATIONS, json=A, headers=BEARER).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
    refused = front.http.get("/imagine", params=A, headers=BEARER)
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert refused.json()["error"]["type"] == "rate_limit_error"
    assert front.http.get("/v1/models", headers=BEARER).status_code == 200

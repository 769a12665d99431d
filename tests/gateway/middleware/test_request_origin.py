"""Checks of `Host` and `Origin`: other names of this machine, and pages of other sites."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway.keys import new_key
from tests.support.fake_triton_server import FakeTriton
from tests.support.gateways import RunningGateway

_, LINE = new_key()
A = {"prompt": "a"}
GENERATIONS = "/v1/images/generations"


@pytest.mark.parametrize("host", ["localhost:8080", "127.0.0.1", "[::1]:1", "LOCALHOST"])
def test_local_host_names(gateway: RunningGateway, host: str) -> None:
    assert gateway.http.get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "localhost.example", ""])
def test_other_host_names_are_refused(
    gateway: RunningGateway,
    start_gateway: Callable[..., RunningGateway],
    fake_triton: FakeTriton,
    host: str,
) -> None:
    answer = gateway.http.get("/imagine", params=A, headers={"Host": host})
    assert (answer.status_code, answer.json()["error"]["code"]) == (421, "wrong_host")
    assert not fake_triton.requests
    locked = start_gateway(api_keys=(LINE,))
    assert locked.http.get("/healthz", headers={"Host": host}).status_code == 200


def test_a_configured_host_name(start_gateway: Callable[..., RunningGateway]) -> None:
    gateway = start_gateway(allowed_hosts=("pictures.example",))
    assert gateway.http.get("/healthz", headers={"Host": "pictures.example"}).status_code == 200
    assert gateway.http.get("/healthz").status_code == 421


@pytest.mark.parametrize("origin", ["https://evil.example", "http://127.0.0.1:1", "null"])
def test_a_page_of_another_site_is_refused(
    gateway: RunningGateway, fake_triton: FakeTriton, origin: str
) -> None:
    for path in (GENERATIONS, "/v1/jobs"):
        answer = gateway.http.post(path, json=A, headers={"Origin": origin})
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "wrong_origin")
    assert not fake_triton.requests


def test_the_gateways_own_page(gateway: RunningGateway) -> None:
    headers = {"Origin": gateway.url, "Sec-Fetch-Site": "same-origin"}
    assert gateway.http.post(GENERATIONS, json=A, headers=headers).status_code == 200


def test_an_image_on_a_page_of_another_site_is_refused(gateway: RunningGateway) -> None:
    """Following a link from there is allowed."""
    image = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "image"}
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "document"}
    assert gateway.http.get("/imagine", params=A, headers=image).status_code == 403
    assert gateway.http.get("/imagine", params=A, headers=link).status_code == 200


def test_an_allowed_origin(start_gateway: Callable[..., RunningGateway]) -> None:
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

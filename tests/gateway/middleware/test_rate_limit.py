"""The rate limit of a key."""

from __future__ import annotations

from collections.abc import Callable

from gateway.keys import new_key
from tests.support.fake_triton_server import FakeTriton
from tests.support.gateways import RunningGateway

KEY, LINE = new_key()
BEARER = {"Authorization": f"Bearer {KEY}"}
A = {"prompt": "a"}
GENERATIONS = "/v1/images/generations"


def test_rate_limit(start_gateway: Callable[..., RunningGateway], fake_triton: FakeTriton) -> None:
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

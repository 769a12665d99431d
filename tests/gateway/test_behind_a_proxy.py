"""Behind a trusted proxy, its headers tell the client's address and the scheme."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.gateways import RunningGateway

HERE, ELSEWHERE = "127.0.0.1", "192.0.2.0/24"
Open = Callable[..., RunningGateway]


def imagine(gateway: RunningGateway, **headers: str) -> int:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return gateway.http.get("/imagine", params={"prompt": "a"}, headers=named).status_code


@pytest.mark.parametrize(("trusted", "second"), [(HERE, 200), (ELSEWHERE, 429)])
def test_each_client_has_limits_of_its_own(
    start_gateway: Open, monkeypatch: pytest.MonkeyPatch, trusted: str, second: int
) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", trusted)
    gateway = start_gateway(rate_limit="1/minute")
    assert imagine(gateway, X_Forwarded_For="203.0.113.1") == 200
    assert imagine(gateway, X_Forwarded_For="203.0.113.2") == second


@pytest.mark.parametrize(
    ("other", "status"),
    [("2001:db8:0:1:ffff::2", 429), ("2001:db8:0:2::1", 200), ("::ffff:203.0.113.1", 200)],
)
def test_an_ipv6_network_is_one_client(start_gateway: Open, other: str, status: int) -> None:
    """A client may take any of the 2**64 addresses of its network."""
    gateway = start_gateway(rate_limit="1/minute")
    assert imagine(gateway, X_Forwarded_For="2001:db8:0:1::1") == 200
    assert imagine(gateway, X_Forwarded_For=other) == status


def test_a_client_cannot_claim_another_address(start_gateway: Open) -> None:
    """The proxy appends the true address to what the client claims, and the last one counts."""
    gateway = start_gateway(rate_limit="1/minute")
    assert imagine(gateway, X_Forwarded_For="203.0.113.1") == 200
    assert imagine(gateway, X_Forwarded_For="203.0.113.7, 203.0.113.1") == 429


@pytest.mark.parametrize(("trusted", "status"), [(HERE, 200), (ELSEWHERE, 403)])
def test_the_page_behind_tls(
    start_gateway: Open, monkeypatch: pytest.MonkeyPatch, trusted: str, status: int
) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", trusted)
    name = "pictures.example.org"
    gateway = start_gateway(allowed_hosts=(name,))
    headers = {"Host": name, "Origin": f"https://{name}", "X_Forwarded_Proto": "https"}
    assert imagine(gateway, **headers) == status

"""Behind a proxy: who asks, and by which address, is what the proxy says where it is trusted."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.gateways import Front

HERE, ELSEWHERE = "127.0.0.1", "192.0.2.0/24"
Open = Callable[..., Front]


def imagine(front: Front, **headers: str) -> int:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return front.http.get("/imagine", params={"prompt": "a"}, headers=named).status_code


@pytest.mark.parametrize(("trusted", "second"), [(HERE, 200), (ELSEWHERE, 429)])
def test_each_client_has_limits_of_its_own(
    open_front: Open, monkeypatch: pytest.MonkeyPatch, trusted: str, second: int
) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", trusted)
    front = open_front(rate_limit="1/minute")
    assert imagine(front, X_Forwarded_For="203.0.113.1") == 200
    assert imagine(front, X_Forwarded_For="203.0.113.2") == second


def test_a_client_cannot_be_another(open_front: Open) -> None:
    """What it claims itself stands in front of what the proxy adds."""
    front = open_front(rate_limit="1/minute")
    assert imagine(front, X_Forwarded_For="203.0.113.1") == 200
    assert imagine(front, X_Forwarded_For="203.0.113.7, 203.0.113.1") == 429


@pytest.mark.parametrize(("trusted", "status"), [(HERE, 200), (ELSEWHERE, 403)])
def test_the_page_behind_tls(
    open_front: Open, monkeypatch: pytest.MonkeyPatch, trusted: str, status: int
) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", trusted)
    name = "pictures.example.org"
    front = open_front(allowed_hosts=(name,))
    told = {"Host": name, "Origin": f"https://{name}", "X_Forwarded_Proto": "https"}
    assert imagine(front, **told) == status

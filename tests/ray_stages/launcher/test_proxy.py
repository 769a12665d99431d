"""A proxy in the environment is for the world outside, never for this machine's own servers."""

from __future__ import annotations

import os
import urllib.request

import pytest

from ray_stages.launcher.ray_environment import without_proxy_on_loopback
from relay_client.grpc_transport import channel_options


@pytest.mark.parametrize("given", ["", "example.org"])
def test_loopback_is_asked_directly(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy.invalid:3128")
    monkeypatch.setenv("no_proxy", given)
    monkeypatch.setenv("NO_PROXY", given)
    without_proxy_on_loopback()
    for host in ("127.0.0.1:8000", "localhost:8000"):
        assert urllib.request.proxy_bypass(host)
    assert not urllib.request.proxy_bypass("example.com")
    assert bool(urllib.request.proxy_bypass("example.org")) == bool(given)
    assert os.environ["no_proxy"] == os.environ["NO_PROXY"]


@pytest.mark.parametrize(
    ("target", "direct"),
    [
        ("127.0.0.1:8001", True),
        ("localhost:8001", True),
        ("[::1]:8001", True),
        ("a.b:1", False),
    ],
)
def test_grpc_asks_no_proxy_for_loopback(target: str, direct: bool) -> None:
    assert ("grpc.enable_http_proxy" in channel_options(target)) == direct

"""Security headers."""

from __future__ import annotations

import pytest

from tests.support.gateways import RunningGateway


@pytest.mark.parametrize("path", ["/healthz", "/imagine", "/nothing", "/docs"])
def test_security_headers(gateway: RunningGateway, path: str) -> None:
    headers = gateway.http.get(path).headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-request-id"]
    assert "server" not in headers

from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from ray_stages.launcher import tls
from ray_stages.settings import Settings
from relay_client import Client
from relay_client.grpc_transport import credentials

ENCRYPTED = Settings(grpc_tls_certificate="/tls/own.pem", grpc_tls_key="/tls/own.key")


def test_without_a_certificate_grpc_is_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_TLS_CA", "/of/another/server.pem")
    assert tls.server_options(Settings()) == []
    assert tls.ca_file(Settings()) == ""


def test_with_a_certificate_grpc_has_tls() -> None:
    assert tls.server_options(ENCRYPTED) == [
        "--grpc-use-ssl=true",
        "--grpc-server-cert=/tls/own.pem",
        "--grpc-server-key=/tls/own.key",
    ]


def test_clients_trust_the_certificate_itself_if_no_authority_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("TRITON_TLS_CA", raising=False)
    assert tls.ca_file(ENCRYPTED) == "/tls/own.pem"
    monkeypatch.setenv("TRITON_TLS_CA", "/tls/authority.pem")
    assert tls.ca_file(ENCRYPTED) == "/tls/authority.pem"


def test_the_error_names_a_missing_file(tmp_path: Path) -> None:
    missing = str(tmp_path / "none.pem")
    with pytest.raises(ValueError, match=f"GRPC_TLS_CERTIFICATE={missing} is not a file"):
        Settings.from_env({"GRPC_TLS_CERTIFICATE": missing, "GRPC_TLS_KEY": __file__})
    with pytest.raises(FileNotFoundError, match=r"none\.pem"):
        Client(tls_ca=missing)


def test_a_client_takes_the_authority_from_its_argument_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRITON_TLS_CA", raising=False)
    assert credentials() is None
    file = tmp_path / "ca.pem"
    file.write_text("-----BEGIN CERTIFICATE-----")
    assert isinstance(credentials(str(file)), grpc.ChannelCredentials)
    monkeypatch.setenv("TRITON_TLS_CA", str(file))
    assert isinstance(credentials(), grpc.ChannelCredentials)

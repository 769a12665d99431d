from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from ray_stages.launcher import tls
from ray_stages.settings import Settings
from relay_client import Client
from relay_client.grpc_transport import channel_credentials


@pytest.fixture
def encrypted(tmp_path: Path) -> Settings:
    for name in ("own.pem", "own.key"):
        (tmp_path / name).touch()
    return Settings(grpc_tls_certificate=tmp_path / "own.pem", grpc_tls_key=tmp_path / "own.key")


def test_without_a_certificate_grpc_is_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_TLS_CA", "/of/another/server.pem")
    assert tls.server_options(Settings()) == []
    assert tls.ca_file(Settings()) == ""


def test_with_a_certificate_grpc_has_tls(encrypted: Settings, tmp_path: Path) -> None:
    assert tls.server_options(encrypted) == [
        "--grpc-use-ssl=true",
        f"--grpc-server-cert={tmp_path}/own.pem",
        f"--grpc-server-key={tmp_path}/own.key",
    ]


def test_clients_trust_the_certificate_itself_if_no_authority_is_named(
    encrypted: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRITON_TLS_CA", raising=False)
    assert tls.ca_file(encrypted) == f"{tmp_path}/own.pem"
    monkeypatch.setenv("TRITON_TLS_CA", "/tls/authority.pem")
    assert tls.ca_file(encrypted) == "/tls/authority.pem"


def test_the_error_names_a_missing_file(tmp_path: Path) -> None:
    missing = str(tmp_path / "none.pem")
    message = f"GRPC_TLS_CERTIFICATE={missing}: Path does not point to a file"
    with pytest.raises(ValueError, match=message):
        Settings.from_env({"GRPC_TLS_CERTIFICATE": missing, "GRPC_TLS_KEY": __file__})
    with pytest.raises(FileNotFoundError, match=r"none\.pem"):
        Client(tls_ca=missing)


def test_a_client_takes_the_authority_from_its_argument_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRITON_TLS_CA", raising=False)
    assert channel_credentials() is None
    file = tmp_path / "ca.pem"
    file.write_text("-----BEGIN CERTIFICATE-----")
    assert isinstance(channel_credentials(str(file)), grpc.ChannelCredentials)
    monkeypatch.setenv("TRITON_TLS_CA", str(file))
    assert isinstance(channel_credentials(), grpc.ChannelCredentials)

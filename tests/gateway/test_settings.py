from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from gateway.keys import digest
from gateway.settings import GatewaySettings
from tests.support.paths import ROOT


def test_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_GRPC", "a:1, b:2")
    monkeypatch.setenv("CORS_ORIGINS", "")
    monkeypatch.setenv("GATEWAY_PORT", "0")
    settings = GatewaySettings.from_env()
    assert settings.triton_grpc == ("a:1", "b:2")
    assert settings.cors_origins == ()
    assert settings.gateway_port == 0


@pytest.mark.parametrize("bind", ["0.0.0.0", "::", "192.168.1.1", "some.host"])
def test_other_than_loopback_needs_keys(bind: str, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="not loopback"):
        GatewaySettings(gateway_bind=bind)
    for given in (
        {"no_keys_needed": True},
        {"api_keys": (digest("x"),)},
        {"api_keys_file": tmp_path / "keys"},
    ):
        assert not GatewaySettings(gateway_bind=bind, **given).on_loopback


@pytest.mark.parametrize("bind", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_needs_no_keys(bind: str) -> None:
    settings = GatewaySettings(gateway_bind=bind)
    assert settings.on_loopback
    assert "localhost" in settings.hosts


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (str(ROOT / "models" / "miniature-sd"), "miniature-sd"),
        ("stabilityai/sd-turbo", "stabilityai/sd-turbo"),
        ("/models/sd-v1-5/", "sd-v1-5"),
    ],
)
def test_the_checkpoints_name(model: str, name: str) -> None:
    assert GatewaySettings(model=model).checkpoint == name


def test_each_wrong_setting_is_one_line() -> None:
    command = [sys.executable, "-m", "gateway"]
    environment = {"PATH": "", "GATEWAY_BIND": "0.0.0.0", "GATEWAY_PORT": "x"}
    environment["STORE"] = "mysql://me:secret@host"
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    bind, port, store = done.stderr.splitlines()
    assert bind.startswith("gateway: GATEWAY_BIND=0.0.0.0: not loopback: set API_KEYS_FILE or")
    assert port.startswith("gateway: GATEWAY_PORT=x: Input should be a valid integer")
    assert store.startswith("gateway: STORE=mysql://***@host: String should match pattern")


@pytest.mark.parametrize(
    "given", [{"store": "mysql://host/db"}, {"rate_limit": "often"}, {"gateway_port": 65536}]
)
def test_wrong_values(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        GatewaySettings(**given)


def test_a_new_key_and_its_line() -> None:
    command = [sys.executable, "-m", "gateway", "new-key"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    key, line = (row.split("  ")[-1].strip() for row in done.stdout.splitlines())
    assert line.split()[0] == digest(key)

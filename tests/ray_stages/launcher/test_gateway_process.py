"""The gateway as a process: on its own, and as the launcher runs it."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2 as httpx
import pytest

from ray_stages.launcher import health_check
from ray_stages.launcher.gateway_process import GatewayProcess
from ray_stages.settings import Settings
from tests.support.fake_triton_server import FakeTriton, png_of_seed
from tests.support.waiting import wait_until


@pytest.fixture
def child(
    fake_triton: FakeTriton, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[GatewayProcess]:
    monkeypatch.setenv("STORE", f"sqlite:///{tmp_path}/store.sqlite")
    monkeypatch.setenv("DRAIN_SECONDS", "10")
    with (tmp_path / "gateway.log").open("wb") as log:
        process = GatewayProcess(Settings(gateway_port=0, drain_seconds=10), fake_triton.url, log)
        assert process.start()
        yield process
        process.stop()


def draw(process: GatewayProcess) -> httpx.Response:
    return httpx.get(f"{process.address}/imagine?prompt=a&seed=7", timeout=20, trust_env=False)


def test_the_launcher_knows_its_address_and_it_knows_its_checkpoint(child: GatewayProcess) -> None:
    assert draw(child).content == png_of_seed(7)
    models = httpx.get(f"{child.address}/v1/models", trust_env=False).json()
    assert models["data"][0]["id"] == "miniature-sd"


def test_a_restarted_gateway_has_the_same_address(child: GatewayProcess) -> None:
    address = child.address
    assert child.process
    child.process.kill()
    assert wait_until(child.has_ended)
    assert child.start()
    assert child.address == address
    assert draw(child).status_code == 200


def test_stop_finishes_accepted_requests(child: GatewayProcess, fake_triton: FakeTriton) -> None:
    """Meanwhile it accepts no others, and event streams end."""
    fake_triton.proceed.clear()
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(draw, child)
        assert wait_until(lambda: fake_triton.requests)
        job = httpx.post(f"{child.address}/v1/jobs", json={"prompt": "a"}, trust_env=False).json()
        events = f"{child.address}/v1/jobs/{job['id']}/events"
        with httpx.stream("GET", events, timeout=20, trust_env=False) as told:
            stopping = pool.submit(child.stop)
            assert wait_until(lambda: refuses(child))
            assert "completed" not in told.read().decode()
        assert not answer.done()
        fake_triton.proceed.set()
        assert answer.result().content == png_of_seed(7)
        stopping.result()
    assert not fake_triton.cancelled_ids


def refuses(process: GatewayProcess) -> bool:
    try:
        httpx.get(f"{process.address}/healthz", timeout=1, trust_env=False)
    except httpx.HTTPError:
        return True
    return False


def test_the_error_names_a_port_that_is_taken(fake_triton: FakeTriton, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, (tmp_path / "log").open("wb") as log:
        port = taken.getsockname()[1]
        assert not GatewayProcess(Settings(gateway_port=port), fake_triton.url, log).start()
    assert (
        f"GATEWAY_PORT={port} on 127.0.0.1: Address already in use"
        in (tmp_path / "log").read_text()
    )


def test_it_serves_https_with_a_certificate(
    tmp_path: Path, fake_triton: FakeTriton, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    environment = {
        **os.environ,
        "GATEWAY_PORT": "0",
        "TRITON_GRPC": fake_triton.url,
        "TLS_CERTIFICATE": str(certificate),
        "TLS_KEY": str(key),
        "STORE": "sqlite:///:memory:",
    }
    command = [sys.executable, "-m", "gateway"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        address = process.stdout.readline().split()[-1]
        assert address.startswith("https://")
        trust = ssl.create_default_context(cafile=certificate)
        answer = httpx.get(f"{address}/imagine?prompt=a&seed=7", verify=trust)
        assert answer.content == png_of_seed(7)
        assert "strict-transport-security" in answer.headers
        monkeypatch.setenv("TLS_CERTIFICATE", str(certificate))
        health_check.check_gateway(Settings(gateway_port=int(address.rpartition(":")[2])))
        process.send_signal(signal.SIGTERM)

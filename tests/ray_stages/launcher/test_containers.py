"""The commands of containers, the Ray node and the health checks, without Ray."""

from __future__ import annotations

import os
import socket
import threading
import time
from pathlib import Path

import pytest

from ray_stages.errors import StackFailed
from ray_stages.launcher import containers, health_check, ray_node
from ray_stages.launcher.heartbeat import STALE_SECONDS, record_heartbeat
from ray_stages.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(run_dir=tmp_path, start_seconds=0)


def test_a_node_is_healthy_while_heartbeats_come(settings: Settings) -> None:
    with pytest.raises(OSError, match="no heartbeat for inf s, the limit is 30 s"):
        health_check.check_node(settings)
    record_heartbeat(settings)
    health_check.check_node(settings)
    long_ago = time.time() - STALE_SECONDS - 1
    os.utime(settings.run_dir / "heartbeat", (long_ago, long_ago))
    with pytest.raises(OSError, match="no heartbeat for 31 s"):
        health_check.check_node(settings)


@pytest.mark.parametrize("part", ["gateway", "triton"])
def test_a_part_that_does_not_answer_is_unhealthy(
    part: str, settings: Settings, free_port: int
) -> None:
    settings = settings.replace(gateway_port=free_port, grpc_port=free_port)
    with pytest.raises(OSError, match=r"refused|UNAVAILABLE|reach"):
        health_check.CHECKS[part](settings)


def test_a_process_that_ends_ends_its_container(settings: Settings) -> None:
    with pytest.raises(StackFailed, match="it has ended"):
        containers._watch(settings, threading.Event(), lambda: None, lambda: "it has ended")


def test_a_container_that_is_told_to_stop_has_no_fault(settings: Settings) -> None:
    stopped = threading.Event()
    stopped.set()
    assert not containers._watch(settings, stopped, lambda: None)
    assert containers._watch(settings, stopped, lambda: None, until=lambda: True)


def test_a_worker_without_ray_address_is_refused(settings: Settings) -> None:
    with pytest.raises(ValueError, match="RAY_ADDRESS is empty: host:port"):
        containers._start_node(settings, threading.Event(), cpus=0)


def test_the_error_names_a_head_that_does_not_answer(settings: Settings, free_port: int) -> None:
    settings = settings.replace(ray_address=f"127.0.0.1:{free_port}")
    with pytest.raises(TimeoutError, match=f"127.0.0.1:{free_port} does not answer within START"):
        containers._start_node(settings, threading.Event(), cpus=0)


def test_waiting_ends_when_the_head_answers(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as head:
        node = ray_node.RayNode(f"127.0.0.1:{head.getsockname()[1]}", 0, tmp_path / "ray.log")
        node.wait_for_head(0, lambda: False)


def test_the_fault_of_a_node_that_ended_is_the_last_line_of_its_log(tmp_path: Path) -> None:
    log = tmp_path / "ray.log"
    node = ray_node.RayNode("127.0.0.1:1", 0, log)
    assert node.fault() == "this node's Ray has ended: "
    log.write_text("welcome\nno such head\n\n")
    assert node.fault() == "this node's Ray has ended: no such head"


def test_the_local_address_is_the_one_that_the_peer_sees() -> None:
    assert ray_node._local_address("127.0.0.1:6379") == "127.0.0.1"


def test_a_token_is_created_once_and_only_we_can_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "token"
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(path))
    ray_node.create_auth_token()
    token = path.read_text()
    assert len(token) == 64
    assert path.stat().st_mode & 0o777 == 0o600
    ray_node.create_auth_token()
    assert path.read_text() == token


def test_a_token_that_was_given_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "given")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    ray_node.create_auth_token()
    assert not (tmp_path / "token").exists()

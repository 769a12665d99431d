from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from ray_stages.launcher.ports import Ports
from ray_stages.launcher.stack_file import RunningStack, StackFile
from ray_stages.settings import Settings


@pytest.fixture
def healthy_port() -> Iterator[int]:
    class Ready(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/v2/health/ready" else 404)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Ready)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()


def test_a_ready_stack_is_found(tmp_path: Path, healthy_port: int) -> None:
    file, settings = StackFile(tmp_path), Settings(bind="0.0.0.0")
    stack = RunningStack.of(settings, Ports(http=healthy_port, grpc=2, metrics=3))
    assert stack.grpc == "127.0.0.1:2"
    file.write(stack)
    assert file.find(settings) == stack
    file.remove()
    assert file.find(settings) is None


def test_a_stack_with_another_model_or_that_does_not_answer_is_not_found(
    tmp_path: Path, healthy_port: int
) -> None:
    file, settings = StackFile(tmp_path), Settings()
    file.write(RunningStack.of(settings, Ports(http=healthy_port, grpc=2, metrics=3)))
    assert file.find(settings.replace(model="other/model")) is None
    file.write(RunningStack.of(settings, Ports(http=1, grpc=2, metrics=3)))
    assert file.find(settings) is None


def test_the_file_of_a_dead_launcher_is_removed(tmp_path: Path, healthy_port: int) -> None:
    stack = RunningStack.of(Settings(), Ports(http=healthy_port, grpc=2, metrics=3))
    left = tmp_path / "left.json"
    left.write_text(json.dumps(asdict(replace(stack, pid=2**22 - 1))))
    assert StackFile(tmp_path).find(Settings()) is None
    assert not left.exists()

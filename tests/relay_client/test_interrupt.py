"""The server cancels the request of a client that leaves before its end."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from relay_client import Client
from tests.support.fake_triton_server import PROGRAM, FakeTriton
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("somewhere")]


def interrupted(process: subprocess.Popen[str], signum: int = signal.SIGINT) -> tuple[int, str]:
    process.send_signal(signum)
    _, errors = process.communicate(timeout=10)
    return process.returncode, errors


@pytest.mark.parametrize("how", [[], ["--stream"]], ids=["plain", "stream"])
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_cancels_and_leaves_with_130(
    triton: FakeTriton, how: list[str], signum: int
) -> None:
    triton.proceed.clear()
    with subprocess.Popen(triton.command("a", *how), stderr=subprocess.PIPE, text=True) as process:
        assert wait_until(lambda: len(triton.requests) == 1)
        assert interrupted(process, signum) == (130, "client.py: interrupted\n")
    assert triton.requests[0].id
    assert triton.cancelled_ids == [triton.requests[0].id]


def test_interrupt_between_two_previews(triton: FakeTriton, somewhere: Path) -> None:
    triton.hold_at = 3
    triton.proceed.clear()
    command = triton.command("a", "--preview", ".", "--request-id", "tuesday")
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert wait_until((somewhere / "step_002.png").exists)
        assert interrupted(process) == (130, "client.py: interrupted\n")
    assert triton.cancelled_ids == ["tuesday"]
    assert not (somewhere / "out.png").exists()


@pytest.mark.parametrize("protocol", ["grpc"], indirect=True)
def test_a_second_interrupt_does_not_stop_the_cancelling(triton: FakeTriton) -> None:
    """With `make image`, the client gets a signal from the terminal and one from its parent."""
    triton.proceed.clear()
    with subprocess.Popen(triton.command("a"), stderr=subprocess.PIPE, text=True) as process:
        assert wait_until(lambda: len(triton.requests) == 1)
        process.send_signal(signal.SIGINT)
        assert interrupted(process, signal.SIGTERM) == (130, "client.py: interrupted\n")
    assert triton.cancelled_ids == [triton.requests[0].id]


def test_an_interrupt_is_quick_while_the_server_is_silent() -> None:
    """The port accepts connections and never answers, not even the cancellation."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"127.0.0.1:{silent.getsockname()[1]}"
        command = [sys.executable, str(PROGRAM), "a", "--url", url]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            silent.accept()
            begun = time.monotonic()
            assert interrupted(process) == (130, "client.py: interrupted\n")
            assert time.monotonic() - begun < 4


@pytest.mark.parametrize("module", ["argparse", "numpy", "grpc", "relay_client"])
def test_interrupt_while_it_imports(module: str, free_port: int) -> None:
    url = f"127.0.0.1:{free_port}"
    command = [sys.executable, "-X", "importtime", str(PROGRAM), "a", "--url", url]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while not process.stderr.readline().endswith(f" {module}\n"):
            pass
        status, errors = interrupted(process)
    assert status == 130
    assert errors.splitlines()[-1] == "client.py: interrupted"
    assert "Traceback" not in errors


def test_a_stream_that_is_closed_is_cancelled(triton: FakeTriton, client: Client) -> None:
    triton.hold_at = 3
    triton.proceed.clear()
    for preview in client.stream("a", request_id="tuesday"):
        if preview.step == 2:
            break
    assert wait_until(lambda: triton.cancelled_ids == ["tuesday"])


def test_a_finished_request_is_not_cancelled(triton: FakeTriton, client: Client) -> None:
    client.generate("a")
    for preview in client.stream("a"):
        if preview.is_final:
            break
    assert triton.cancelled_ids == []


def test_cancel_says_whether_there_was_such_a_request(triton: FakeTriton, client: Client) -> None:
    client.generate("a", request_id="tuesday")
    assert client.cancel("tuesday") is True
    assert client.cancel("wednesday") is False
    assert triton.cancelled_ids == ["tuesday", "wednesday"]

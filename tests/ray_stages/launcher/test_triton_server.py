from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ray_stages.launcher.ports import Ports
from ray_stages.launcher.triton_server import TritonServer, find_distribution
from ray_stages.settings import Settings
from tests.support.waiting import wait_until

StartStub = Callable[[str], "subprocess.Popen[bytes]"]


@pytest.fixture
def start_stub(tmp_path: Path) -> Iterator[StartStub]:
    """Starts a process named like Triton's stub, owned by the given server; it ignores SIGTERM."""
    script = tmp_path / "triton_python_backend_stub"
    script.write_text("#!/bin/sh\ntrap '' TERM\nwhile :; do sleep 0.1; done\n")
    script.chmod(0o755)
    started: list[subprocess.Popen[bytes]] = []

    def start(owner: str) -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen([script, "model.py", f"{owner}_shm_region_1"]))
        return started[-1]

    yield start
    for stub in started:
        stub.kill()
        stub.wait()


def test_stop_ends_the_stubs_of_a_server_that_has_ended(
    tmp_path: Path, start_stub: StartStub
) -> None:
    """A stub that was still starting does not notice that its tritonserver has aborted."""
    server = TritonServer(Settings(), Ports(1, 2, 3), tmp_path / "drain", io.BytesIO())
    server.process = subprocess.Popen(["true"])
    server.process.wait()
    own, other = start_stub(server.name), start_stub("latent_relay_another")
    assert wait_until(lambda: [stub.pid for stub in server.stubs()] == [own.pid])
    server.stop(grace=1)
    assert own.wait(5) != 0
    assert other.poll() is None


def test_the_backend_directory_holds_this_pythons_stub(tmp_path: Path) -> None:
    server = find_distribution(tmp_path)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    folder = server.backends / "python"
    assert os.access(server.binary, os.X_OK)
    assert sorted(path.name for path in folder.iterdir()) == [
        "libtriton_python.so",
        "triton_python_backend_stub",
        "triton_python_backend_utils.py",
    ]
    assert (folder / "triton_python_backend_stub").resolve().parent.name == version
    assert all(path.resolve().exists() for path in folder.iterdir())


def test_a_backend_directory_of_an_older_environment_is_repaired(tmp_path: Path) -> None:
    stub = find_distribution(tmp_path).backends / "python" / "triton_python_backend_stub"
    stub.unlink()
    stub.symlink_to("/an/environment/that/is/gone")
    find_distribution(tmp_path)
    assert stub.resolve().exists()


def test_libpython_of_this_interpreter_comes_first(tmp_path: Path) -> None:
    libraries = find_distribution(tmp_path).libraries
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert (libraries[0] / f"libpython{version}.so.1.0").exists()

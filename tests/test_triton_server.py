from __future__ import annotations

import os
import sys
from pathlib import Path

from ray_stages.triton_server import find


def test_the_backend_directory_holds_this_pythons_stub(tmp_path: Path) -> None:
    server = find(tmp_path)
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


def test_a_backend_directory_of_an_older_environment_is_mended(tmp_path: Path) -> None:
    stub = find(tmp_path).backends / "python" / "triton_python_backend_stub"
    stub.unlink()
    stub.symlink_to("/an/environment/that/is/gone")
    find(tmp_path)
    assert stub.resolve().exists()


def test_libpython_of_this_interpreter_comes_first(tmp_path: Path) -> None:
    libraries = find(tmp_path).libraries
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert (libraries[0] / f"libpython{version}.so.1.0").exists()

"""Pictures are written as a whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from relay_client import Picture
from tests.support.fake_triton_server import png_of_seed

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("somewhere")]


def a_picture() -> Picture:
    return Picture("a", 7, png_of_seed(7), {})


def test_a_failed_write_leaves_the_old_file(
    somewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = somewhere / "out.png"
    file.write_bytes(b"old")
    write_bytes = Path.write_bytes

    def full_disk(path: Path, data: bytes) -> int:
        write_bytes(path, data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(OSError, match="No space left"):
        a_picture().save(file)
    assert file.read_bytes() == b"old"
    assert list(somewhere.iterdir()) == [file]


def test_files_get_the_usual_mode(somewhere: Path) -> None:
    a_picture().save("out.png")
    (somewhere / "usual").touch()
    assert (somewhere / "out.png").stat().st_mode == (somewhere / "usual").stat().st_mode


def test_a_pipe_is_written_to_not_replaced(somewhere: Path) -> None:
    pipe = somewhere / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    a_picture().save(pipe)
    assert os.read(reader, 100_000) == png_of_seed(7)
    os.close(reader)

"""Records and pictures on disk: whole, once, and of one kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from batch.key_digests import holds
from batch.outputs.writer import PARTIAL, Store
from batch.rows import table
from ray_stages.errors import InvalidRequest
from tests.support.batch_inputs import records_of

DRAWN = {"key": "a/b", "status": "ok", "png": b"PNG a"}
FAILED = {"key": "c", "status": "error", "kind": "invalid prompt", "error": "prompt: got nothing"}


def batch(*rows: dict[str, Any]) -> pa.Table:
    return table(list(rows or (DRAWN, FAILED)))


def opened(folder: Path, pictures: str) -> Store:
    store = Store.open(str(folder), pictures)
    store.begin({"draw.steps": 4, "draw.columns": ("seed",)})
    return store


def test_pictures_go_into_the_records(tmp_path: Path) -> None:
    store = opened(tmp_path, "parquet")
    part = store.write(batch())
    drawn, failed = records_of(tmp_path)
    assert (drawn["png"], drawn["file"], failed["png"]) == (b"PNG a", None, None)
    assert failed["error"] == "prompt: got nothing"
    assert "embeds" not in drawn
    assert store.picture(part, "a/b") == b"PNG a"


@pytest.mark.parametrize("pictures", ["png", "both"])
def test_pictures_go_into_files_named_by_key(tmp_path: Path, pictures: str) -> None:
    store = opened(tmp_path, pictures)
    part = store.write(batch())
    drawn, _ = records_of(tmp_path)
    assert drawn["file"] == "pictures/a%2Fb.png"
    assert [file.name for file in (tmp_path / "pictures").iterdir()] == ["a%2Fb.png"]
    assert (tmp_path / drawn["file"]).read_bytes() == b"PNG a"
    assert (drawn["png"] is None) == (pictures == "png")
    assert store.picture(part, "a/b") == b"PNG a"


def test_the_same_rows_in_any_order_are_one_file(tmp_path: Path) -> None:
    """A task that Ray runs again, since its node died after the file was there."""
    store = opened(tmp_path, "parquet")
    assert store.write(batch(DRAWN, FAILED)) == store.write(batch(FAILED, DRAWN))
    assert len(records_of(tmp_path)) == 2


def test_what_is_written_is_known(tmp_path: Path) -> None:
    store = opened(tmp_path, "both")
    store.write(batch())
    assert list(holds(store.written(), ["a/b", "c", "d"])) == [True, True, False]


def test_what_was_not_finished_is_not_there(tmp_path: Path) -> None:
    store = opened(tmp_path, "parquet")
    with pytest.raises(RuntimeError):
        store.put(store.path("records", "part-1.parquet"), _write_half)
    assert not len(store.written())
    opened(tmp_path, "parquet")
    assert not list((tmp_path / "records").iterdir())


def _write_half(file: pa.NativeFile) -> None:
    file.write(b"PAR1")
    raise RuntimeError("no space left")


def test_leftovers_of_a_kill_are_removed_and_no_others(tmp_path: Path) -> None:
    opened(tmp_path, "both").write(batch())
    for folder in ("records", "pictures"):
        (tmp_path / folder / f"{PARTIAL}1-x").write_text("half")
    (tmp_path / "pictures" / "mine.png").write_text("whole")
    opened(tmp_path, "both")
    left = sorted(file.name for file in (tmp_path / "pictures").iterdir())
    assert left == ["a%2Fb.png", "mine.png"]
    assert len(records_of(tmp_path)) == 2


def test_two_kinds_of_pictures_are_not_mixed(tmp_path: Path) -> None:
    store = opened(tmp_path, "parquet")
    store.check_same({"draw.steps": 4, "draw.columns": ("seed",)})
    with pytest.raises(InvalidRequest, match=r"draw\.steps: got 5, expected 4 as for what is in"):
        store.check_same({"draw.steps": 5, "draw.columns": ("seed",)})
    with pytest.raises(InvalidRequest, match=r"draw\.columns: got None, expected \['seed'\]"):
        store.check_same({"draw.steps": 4})


def test_a_look_leaves_nothing_behind(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path / "out"), "both")
    store.check_same({"draw.steps": 4})
    assert not len(store.written())
    assert not (tmp_path / "out").exists()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidRequest, match=r"output\.path: got '.*file/out'"):
        opened(tmp_path / "file" / "out", "parquet")

"""Records and pictures in the output folder: whole, once, and drawn with the same settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batch.key_digests import contains, digest_keys
from batch.outputs.output_folder import PARTIAL_PREFIX, OutputFolder
from batch.rows import to_table, version
from ray_stages.errors import InvalidRequest
from tests.support.batch_inputs import records_of

DRAWN = {"key": "a/b", "status": "ok", "png": b"PNG a"}
FAILED = {"key": "c", "status": "error", "kind": "invalid prompt", "error": "prompt: got nothing"}


def batch(*rows: dict[str, Any]) -> pa.Table:
    return to_table(list(rows or (DRAWN, FAILED)))


def prepared(folder: Path, pictures: str) -> OutputFolder:
    output = OutputFolder.open(str(folder), pictures)
    output.prepare({"draw.steps": 4, "draw.columns": ("seed",)})
    return output


def test_pictures_go_into_the_records(tmp_path: Path) -> None:
    output = prepared(tmp_path, "parquet")
    part = output.write_part(batch())
    drawn, failed = records_of(tmp_path)
    assert (drawn["png"], drawn["file"], failed["png"]) == (b"PNG a", None, None)
    assert failed["error"] == "prompt: got nothing"
    assert "embeds" not in drawn
    assert output.read_picture(part, "a/b") == b"PNG a"


@pytest.mark.parametrize("pictures", ["png", "both"])
def test_pictures_go_into_files_named_by_key(tmp_path: Path, pictures: str) -> None:
    output = prepared(tmp_path, pictures)
    part = output.write_part(batch())
    drawn, _ = records_of(tmp_path)
    assert drawn["file"] == "pictures/a%2Fb.png"
    assert [file.name for file in (tmp_path / "pictures").iterdir()] == ["a%2Fb.png"]
    assert (tmp_path / drawn["file"]).read_bytes() == b"PNG a"
    assert (drawn["png"] is None) == (pictures == "png")
    assert output.read_picture(part, "a/b") == b"PNG a"


def test_the_same_rows_in_any_order_are_one_file(tmp_path: Path) -> None:
    """Ray repeats a task whose node died after the file was written."""
    output = prepared(tmp_path, "parquet")
    assert output.write_part(batch(DRAWN, FAILED)) == output.write_part(batch(FAILED, DRAWN))
    assert len(records_of(tmp_path)) == 2


def test_written_keys_are_found(tmp_path: Path) -> None:
    output = prepared(tmp_path, "both")
    output.write_part(batch())
    assert list(contains(output.written().keys, ["a/b", "c", "d"])) == [True, True, False]


def test_a_failed_write_leaves_no_file(tmp_path: Path) -> None:
    output = prepared(tmp_path, "parquet")
    with pytest.raises(RuntimeError):
        output.write_file(output.path("records", "part-1.parquet"), _write_half)
    assert not len(output.written().keys)
    prepared(tmp_path, "parquet")
    assert not list((tmp_path / "records").iterdir())


def test_removed_records_are_gone_with_their_pictures(tmp_path: Path) -> None:
    output = prepared(tmp_path, "both")
    output.write_part(batch({**DRAWN, "made_of": "x"}, FAILED, {**DRAWN, "key": "d"}))
    output.write_part(batch({**DRAWN, "key": "e"}))
    output.remove(digest_keys(["a/b", "e", "none"]))
    assert [row["key"] for row in records_of(tmp_path)] == ["c", "d"]
    assert [file.name for file in (tmp_path / "pictures").iterdir()] == ["d.png"]
    assert len(list((tmp_path / "records").iterdir())) == 1


def test_records_of_an_older_run_fit_no_row(tmp_path: Path) -> None:
    output = prepared(tmp_path, "parquet")
    part = tmp_path / "records" / output.write_part(batch())
    pq.write_table(pq.read_table(part).drop_columns(["made_of"]), part)
    written = output.written()
    assert contains(written.keys, ["a/b"]).all()
    assert list(contains(written.versions, [version("a/b", "x")])) == [False]


def _write_half(file: pa.NativeFile) -> None:
    file.write(b"PAR1")
    raise RuntimeError("no space left")


def test_partial_files_of_a_killed_run_are_removed_and_no_others(tmp_path: Path) -> None:
    prepared(tmp_path, "both").write_part(batch())
    for folder in ("records", "pictures"):
        (tmp_path / folder / f"{PARTIAL_PREFIX}1-x").write_text("half")
    (tmp_path / "pictures" / "mine.png").write_text("whole")
    prepared(tmp_path, "both")
    left = sorted(file.name for file in (tmp_path / "pictures").iterdir())
    assert left == ["a%2Fb.png", "mine.png"]
    assert len(records_of(tmp_path)) == 2


def test_pictures_of_other_settings_are_not_mixed(tmp_path: Path) -> None:
    output = prepared(tmp_path, "parquet")
    output.check_settings({"draw.steps": 4, "draw.columns": ("seed",)})
    with pytest.raises(InvalidRequest, match=r"draw\.steps: got 5, expected 4 as for what is in"):
        output.check_settings({"draw.steps": 5, "draw.columns": ("seed",)})
    with pytest.raises(InvalidRequest, match=r"draw\.columns: got None, expected \['seed'\]"):
        output.check_settings({"draw.steps": 4})


def test_opening_a_folder_creates_nothing(tmp_path: Path) -> None:
    output = OutputFolder.open(str(tmp_path / "out"), "both")
    output.check_settings({"draw.steps": 4})
    assert not len(output.written().keys)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidRequest, match=r"output\.path: got '.*file/out'"):
        prepared(tmp_path / "file" / "out", "parquet")

"""Reading files of every format; an error names the bad file, and a bad row fails alone."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batch.inputs.formats import FaultyRow
from batch.inputs.tables import TableFiles, is_missing
from batch.locations import find_files, resolve
from ray_stages.errors import InvalidRequest

ROWS = [{"id": "a", "prompt": "a star"}, {"id": "b", "prompt": "a ring, blue"}]


def write(folder: Path, kind: str) -> Path:
    path = folder / f"prompts.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    elif kind == "jsonl":
        path.write_text("\n".join(map(json.dumps, ROWS)))
    elif kind == "csv.gz":
        path.write_bytes(gzip.compress(b'id,prompt\na,a star\nb,"a ring, blue"\n'))
    else:
        path.write_text('\ufeffid,prompt\r\na,a star\r\nb,"a ring, blue"\r\n', newline="")
    return path


def files(
    *locations: object, kind: str = "auto", rename: dict[str, str] | None = None
) -> TableFiles:
    return TableFiles.find("input", tuple(map(str, locations)), kind, rename or {})


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "jsonl", "parquet"])
def test_each_kind_gives_the_same_rows(tmp_path: Path, kind: str) -> None:
    found = list(files(write(tmp_path, kind)).rows())
    assert found == [("prompts-0000001", ROWS[0]), ("prompts-0000002", ROWS[1])]


def test_lines_of_a_text_are_rows(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("a star\n\n  a ring \n")
    assert [row for _, row in files(tmp_path / "p.txt").rows()] == [
        {"text": "a star"},
        {"text": "a ring"},
    ]


def test_columns_are_renamed(tmp_path: Path) -> None:
    found = files(write(tmp_path, "csv"), rename={"prompt": "text"})
    assert next(iter(found.rows()))[1] == {"id": "a", "text": "a star"}


def test_a_folder_and_a_pattern_are_their_files_in_order(tmp_path: Path) -> None:
    for name in ("b.txt", "a.txt", "_SUCCESS", ".hidden.txt", "deeper/c.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    names = [Path(path).name for path in files(tmp_path).paths]
    assert names == ["a.txt", "b.txt", "c.txt"]
    assert [Path(path).name for path in files(f"{tmp_path}/*.txt").paths] == ["a.txt", "b.txt"]


@pytest.mark.parametrize(
    "scheme", ["file://", "local://"]
)  # a scheme of pyarrow, and one of fsspec
def test_files_can_be_given_by_url(tmp_path: Path, scheme: str) -> None:
    assert [row for _, row in files(f"{scheme}{write(tmp_path, 'csv')}").rows()] == ROWS


def test_any_file_system_of_fsspec_can_be_read() -> None:
    with fsspec.open("memory://shelf/prompts.txt", "w") as file:
        file.write("a star\n")
    assert list(files("memory://shelf").rows()) == [("prompts-0000001", {"text": "a star"})]


def test_same_named_files_are_told_apart(tmp_path: Path) -> None:
    for name in ("one/p.csv", "two/p.csv", "two/p.txt", "two/q.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("text\na star" if name.endswith("csv") else "a star")
    names = [name for name, _ in files(tmp_path).rows()]
    assert names == [f"{stem}-0000001" for stem in ("one/p.csv", "two/p.csv", "p.txt", "q")]
    with pytest.raises(InvalidRequest, match=r"input\.path: got .*q\.txt twice, expected each"):
        files(tmp_path, tmp_path / "two/q.txt")


@pytest.mark.parametrize("indent", [None, 2])
def test_a_json_array_is_its_objects(tmp_path: Path, indent: int | None) -> None:
    path = tmp_path / "p.json"
    path.write_text("\n" + json.dumps([*ROWS, 7], indent=indent))
    first, second, bad = [row for _, row in files(path).rows()]
    assert [first, second] == ROWS
    assert isinstance(bad, FaultyRow)
    assert str(bad.fault).startswith("row: got something else as item 3, expected a JSON object")


def test_texts_that_parquet_holds_as_bytes_are_texts(tmp_path: Path) -> None:
    schema = pa.schema([("id", pa.large_binary()), ("prompt", pa.binary())])
    rows = [{"id": b"\xff", "prompt": "größer".encode()}]
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), tmp_path / "p.parquet")
    assert [row for _, row in files(tmp_path).rows()] == [{"id": b"\xff", "prompt": "größer"}]


def faults(path: Path) -> list[str | None]:
    """Returns the error of each row, None for a whole one."""
    rows = [row for _, row in files(path).rows()]
    return [str(row.fault) if isinstance(row, FaultyRow) else None for row in rows]


def test_a_bad_line_is_a_faulty_row(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    lines = ['{"prompt": "a star"}', '{"prompt": ', "[1]", '{"a": 1, "a": 2}', "[" * 100_000]
    path.write_text("\n".join([*lines, '{"prompt": NaN}']))
    whole, *bad, last = faults(path)
    assert (whole, last) == (None, None)
    expected = "expected a JSON object, each name in it once"
    assert bad == [f"row: got something else in line {n}, {expected}" for n in (2, 3, 4, 5)]
    *_, nan = (row for _, row in files(path).rows())
    assert math.isnan(nan["prompt"])


def test_a_row_with_another_number_of_cells_is_faulty(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text('prompt\n"a ring,\nblue"\n\na large yellow star, on a black background\n')
    whole, cut = faults(path)
    assert whole is None
    assert cut == (
        "row: got 2 cells in line 5, expected 1 as in the header; a text with a comma stands in"
        " quotes"
    )
    path.write_text("id,prompt\na\n")
    assert [str(fault)[:30] for fault in faults(path)] == ["row: got 1 cells in line 2, ex"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.parquet", b"no parquet", "a file that can be read"),
        (
            "p.csv",
            b"prompt\na\n\xff\xfe\xfa\n",
            r"can be read \(line 3: bytes that are not UTF-8; ",
        ),
        ("p.csv", b'prompt\na\n"a star\nb\nc\n', r"can be read \(line 3: .* must end with "),
        ("p.csv", b'prompt\na\n"a" star\n', r"can be read \(line 3: .* must end with "),
        ("p.json", b'[{"a": 1},\n{"a": }]', r"can be read \(line 2: .* one JSON array"),
        ("p.csv", b"prompt,id,prompt\na,b,c\n", r"\(line 1: two columns 'prompt'; "),
        ("p.csv.gz", b"no gzip", "a file that can be read"),
        ("p.xls", b"", r"a name that ends in one of .*input\.format"),
    ],
)
def test_a_bad_file_is_named_with_its_line(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidRequest, match=message) as refused:
        list(files(tmp_path / name).rows())
    assert str(refused.value).startswith(f"input.path: got {tmp_path / name}")


@pytest.mark.parametrize("location", ["nowhere.csv", "nowhere/*.csv", "nosuch://x/y.csv"])
def test_a_location_without_files_is_named(location: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^input\.path: got '.*(nowhere|nosuch)"):
        find_files("input.path", location)


def test_no_location_at_all_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"^input\.path: got nothing"):
        files()


def test_a_local_path_is_absolute() -> None:
    assert Path(resolve("here.csv")[1]).is_absolute()


@pytest.mark.parametrize("value", [None, "", "  ", "NaN", "nan", math.nan])
def test_missing_values(value: Any) -> None:
    assert is_missing(value)


@pytest.mark.parametrize("value", [0, 0.0, False, "0", "none"])
def test_values_that_are_not_missing(value: Any) -> None:
    assert not is_missing(value)

"""The formats of input files: CSV, JSON, Parquet and text, each read row by row.

No reader guesses types or makes a column of one type, so a wrong value fails its own row and not
the whole file.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from batch.rows import Row
from ray_stages.errors import InvalidRequest

TEXT_COLUMN = "text"
CHUNK_ROWS = 1024
csv.field_size_limit(1 << 24)


class FaultyRow(dict[str, Any]):
    """A row that its file does not give as a whole. It has its columns' names, and no values."""

    def __init__(self, columns: Iterable[str], fault: InvalidRequest) -> None:
        super().__init__(dict.fromkeys(columns))
        self.fault = fault


class UnreadableTableError(ValueError):
    """A table that cannot be read on. The message names the line and the cure."""


def read_csv(file: pa.NativeFile) -> Iterator[Row]:
    """Reads a table with a header. Empty lines are no rows.

    A row with more or fewer cells than the header is faulty: which cell was cut is unknown.
    Raises UnreadableTableError where quotes do not fit, and for a header that names a column twice.
    """
    records = _csv_records(_lines(file))
    _, header = next(records, (0, []))
    if repeated := _repeated(header):
        raise UnreadableTableError(f"line 1: two columns {repeated!r}; give each a name of its own")
    for line, cells in records:
        if len(cells) == len(header):
            yield dict(zip(header, cells, strict=True))
        else:
            got = f"{len(cells)} cells in line {line}"
            expected = f"{len(header)} as in the header; a text with a comma stands in quotes"
            yield FaultyRow(header, InvalidRequest("row", got, expected))


def _csv_records(lines: Iterator[str]) -> Iterator[tuple[int, list[str]]]:
    """Yields the records that are not empty, each with the number of its first line."""
    records = csv.reader(lines, strict=True)
    while True:
        first = records.line_num + 1
        try:
            cells = next(records)
        except StopIteration:
            return
        except csv.Error as error:
            cure = 'a cell that begins with " must end with ", and has "" for each " in it'
            raise UnreadableTableError(f"line {first}: {error}; {cure}") from error
        if cells:
            yield first, cells


def read_json(file: pa.NativeFile) -> Iterator[Row]:
    """Reads one JSON object a line, or one array of objects, which is read into memory.

    A line or an item that is anything else is a faulty row.
    Raises UnreadableTableError for an array that is not JSON.
    """
    lines = enumerate(_lines(file), start=1)
    start, first = next((one for one in lines if one[1].strip()), (1, ""))
    if first.lstrip().startswith("["):
        text = "\n" * (start - 1) + first + "".join(line for _, line in lines)
        yield from (_object_row(item, f"as item {n}") for n, item in enumerate(_array(text), 1))
        return
    for number, line in itertools.chain([(start, first)], lines):
        if line.strip():
            try:
                value = json.loads(line, object_pairs_hook=_object)
            except (ValueError, RecursionError):
                value = None
            yield _object_row(value, f"in line {number}")


def _array(text: str) -> list[Any]:
    try:
        items: list[Any] = json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        reason = f"line {error.lineno}: {error.msg}; a file that begins with [ is one JSON array"
        raise UnreadableTableError(reason) from error
    except (ValueError, RecursionError) as error:
        raise UnreadableTableError(f"an array of JSON objects: {error}") from error
    return items


def _object_row(value: Any, place: str) -> Row:
    if isinstance(value, dict):
        return value
    expected = "a JSON object, each name in it once"
    return FaultyRow((), InvalidRequest("row", f"something else {place}", expected))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a name that comes twice")
    return value


def read_parquet(file: pa.NativeFile) -> Iterator[Row]:
    """Raises UnreadableTableError for a schema that names a column twice."""
    table = pq.ParquetFile(file)
    if repeated := _repeated(table.schema_arrow.names):
        raise UnreadableTableError(f"two columns {repeated!r}; give each a name of its own")
    for batch in table.iter_batches(CHUNK_ROWS):
        for row in batch.to_pylist():
            yield {name: _decoded(value) for name, value in row.items()}


def _decoded(value: Any) -> Any:
    """Returns the text of bytes in UTF-8: many writers do not mark a column of texts as such."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value
    return value


def read_text(file: pa.NativeFile) -> Iterator[Row]:
    for line in _lines(file):
        if line.strip():
            yield {TEXT_COLUMN: line.strip()}


def _lines(file: pa.NativeFile) -> Iterator[str]:
    """Yields the lines with their ends. Raises UnreadableTableError where one is not UTF-8."""
    text = io.TextIOWrapper(
        io.BufferedReader(file), encoding="utf-8-sig", errors="surrogateescape", newline=""
    )
    for number, line in enumerate(text, start=1):
        if not line.isascii():
            try:
                line.encode()
            except UnicodeEncodeError as error:
                reason = f"line {number}: bytes that are not UTF-8; save the file as UTF-8"
                raise UnreadableTableError(reason) from error
        yield line


def _repeated(names: list[str]) -> str | None:
    """Returns a name that comes twice. Columns without a name may: nothing can ask for them."""
    return next((name for name, n in Counter(names).items() if n > 1 and name), None)


READERS: Mapping[str, Callable[[pa.NativeFile], Iterator[Row]]] = {
    "csv": read_csv,
    "jsonl": read_json,
    "parquet": read_parquet,
    "text": read_text,
}

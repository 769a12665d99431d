"""CSV, Parquet, JSONL and text files, row by row.

A row is a dict with the file's own values; nothing is guessed or made of one type, so that a row
with a wrong value is that row's problem and not the file's.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from batch.locations import find
from ray_stages.errors import InvalidRequest

Row = dict[str, Any]
SUFFIXES = {
    **{".csv": "csv", ".parquet": "parquet", ".pq": "parquet", ".txt": "text"},
    **{".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl"},
}
PACKED = (".gz", ".bz2", ".zst", ".lz4")
TEXT_COLUMN = "text"
CHUNK = 1024
csv.field_size_limit(1 << 24)


@dataclass(frozen=True)
class Files:
    """Those of one table, and how they are read; `field` is the name it has in messages."""

    field: str
    filesystem: fs.FileSystem
    paths: tuple[str, ...]
    format: str
    rename: Mapping[str, str]

    @classmethod
    def of(cls, field: str, places: tuple[str, ...], kind: str, rename: Mapping[str, str]) -> Files:
        if not places:
            raise InvalidRequest(f"{field}.path", "nothing", "a path or a URL")
        found = [find(f"{field}.path", place) for place in places]
        filesystem = found[0][0]
        if any(not other.equals(filesystem) for other, _ in found):
            raise InvalidRequest(f"{field}.path", "several file systems", "one")
        paths = tuple(path for _, files in found for path in files)
        return cls(field, filesystem, paths, kind, rename)

    def rows(self) -> Iterator[tuple[str, Row]]:
        """Of all files, each with its name; see `read`."""
        for path in self.paths:
            with self.open(path) as file:
                yield from self.read(file, path)

    def open(self, path: str) -> pa.NativeFile:
        """A Parquet file is read from its end, the others from their start, unpacked."""
        try:
            if self._kind(path) == "parquet":
                return self.filesystem.open_input_file(path)
            return self.filesystem.open_input_stream(path)
        except (OSError, pa.ArrowException) as error:
            raise self._refusal(path, error) from error

    def read(self, file: pa.NativeFile, path: str) -> Iterator[tuple[str, Row]]:
        """Names such as prompts-0000017, of file and number. A bad file is refused by its path."""
        stem = PurePosixPath(path).name.split(".")[0]
        try:
            for number, row in enumerate(READERS[self._kind(path)](file), start=1):
                yield f"{stem}-{number:07d}", self._renamed(row)
        except (pa.ArrowException, UnicodeDecodeError, csv.Error, OSError) as error:
            raise self._refusal(path, error) from error

    def _refusal(self, path: str, error: Exception) -> InvalidRequest:
        (reason, *_) = str(error).splitlines() or [type(error).__name__]
        return InvalidRequest(f"{self.field}.path", path, f"a file that can be read ({reason})")

    def _kind(self, path: str) -> str:
        if self.format != "auto":
            return self.format
        name = PurePosixPath(path.lower())
        packed = name.suffix in PACKED
        kind = SUFFIXES.get(name.with_suffix("").suffix if packed else name.suffix)
        if kind is None:
            known = f"a name that ends in one of {', '.join(SUFFIXES)}, or {self.field}.format"
            raise InvalidRequest(f"{self.field}.path", path, known)
        return kind

    def _renamed(self, row: Row) -> Row:
        if not self.rename:
            return row
        return {self.rename.get(name, name): value for name, value in row.items()}


def is_missing(value: Any) -> bool:
    """Nothing, an empty text, or NaN, however it is spelled."""
    if isinstance(value, float):
        return math.isnan(value)
    return value is None or (isinstance(value, str) and value.strip().lower() in ("", "nan"))


def _text_of(file: pa.NativeFile) -> IO[str]:
    return io.TextIOWrapper(io.BufferedReader(file), encoding="utf-8-sig", newline="")


def _csv(file: pa.NativeFile) -> Iterator[Row]:
    for row in csv.DictReader(_text_of(file), strict=True):
        row.pop(None, None)  # cells beyond the header's
        yield row


def _jsonl(file: pa.NativeFile) -> Iterator[Row]:
    """A line that is no JSON object is a row without columns."""
    for line in _text_of(file):
        if line.strip():
            try:
                value = json.loads(line)
            except ValueError:
                value = None
            yield value if isinstance(value, dict) else {}


def _parquet(file: pa.NativeFile) -> Iterator[Row]:
    for batch in pq.ParquetFile(file).iter_batches(CHUNK):
        yield from batch.to_pylist()


def _text(file: pa.NativeFile) -> Iterator[Row]:
    for line in _text_of(file):
        if line.strip():
            yield {TEXT_COLUMN: line.strip()}


READERS = {"csv": _csv, "jsonl": _jsonl, "parquet": _parquet, "text": _text}

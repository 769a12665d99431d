"""The files of a table: where they are, which format each has, and their rows in order."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
from pyarrow import fs

from batch.inputs.formats import READERS, FaultyRow, UnreadableTableError
from batch.locations import find_files
from batch.rows import Row
from ray_stages.errors import InvalidRequest

FORMATS_BY_SUFFIX = {
    **{".csv": "csv", ".parquet": "parquet", ".pq": "parquet", ".txt": "text"},
    **{".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl"},
}
COMPRESSED_SUFFIXES = (".gz", ".bz2", ".zst", ".lz4")


@dataclass(frozen=True)
class TableFiles:
    """The files of one table, and how they are read.

    field: the table's name in messages. names: what each file's rows are named by, by path.
    """

    field: str
    filesystem: fs.FileSystem
    paths: tuple[str, ...]
    format: str
    rename: Mapping[str, str]
    names: Mapping[str, str]

    @classmethod
    def find(
        cls, field: str, locations: tuple[str, ...], kind: str, rename: Mapping[str, str]
    ) -> TableFiles:
        """Raises InvalidRequest where a location has no files, or there are two file systems."""
        if not locations:
            raise InvalidRequest(f"{field}.path", "nothing", "a path or a URL")
        found = [find_files(f"{field}.path", location) for location in locations]
        filesystem = found[0][0]
        if any(not other.equals(filesystem) for other, _ in found):
            raise InvalidRequest(f"{field}.path", "several file systems", "one")
        paths = tuple(path for _, files in found for path in files)
        if len(set(paths)) < len(paths):
            twice = next(path for path in paths if paths.count(path) > 1)
            raise InvalidRequest(f"{field}.path", f"{twice} twice", "each file once")
        return cls(field, filesystem, paths, kind, rename, unique_names(paths))

    def rows(self) -> Iterator[tuple[str, Row]]:
        """Yields the rows of all files with their names; see `read`."""
        for path in self.paths:
            with self.open(path) as file:
                yield from self.read(file, path)

    def open(self, path: str) -> pa.NativeFile:
        """Opens Parquet for random access, all else as a stream that decompresses."""
        try:
            if self._format(path) == "parquet":
                return self.filesystem.open_input_file(path)
            return self.filesystem.open_input_stream(path)
        except (OSError, pa.ArrowException) as error:
            raise self._unreadable(path, error) from error

    def read(self, file: pa.NativeFile, path: str) -> Iterator[tuple[str, Row]]:
        """Yields rows with names such as prompts-0000017, of the file's name and their number.

        Raises InvalidRequest with the path where the file cannot be read.
        """
        try:
            for number, row in enumerate(READERS[self._format(path)](file), start=1):
                yield f"{self.names[path]}-{number:07d}", self._rename_columns(row)
        except (pa.ArrowException, UnreadableTableError, OSError) as error:
            raise self._unreadable(path, error) from error

    def _unreadable(self, path: str, error: Exception) -> InvalidRequest:
        (reason, *_) = str(error).splitlines() or [type(error).__name__]
        return InvalidRequest(f"{self.field}.path", path, f"a file that can be read ({reason})")

    def _format(self, path: str) -> str:
        if self.format != "auto":
            return self.format
        name = PurePosixPath(path.lower())
        is_compressed = name.suffix in COMPRESSED_SUFFIXES
        kind = FORMATS_BY_SUFFIX.get(name.with_suffix("").suffix if is_compressed else name.suffix)
        if kind is None:
            known = (
                f"a name that ends in one of {', '.join(FORMATS_BY_SUFFIX)}, or {self.field}.format"
            )
            raise InvalidRequest(f"{self.field}.path", path, known)
        return kind

    def _rename_columns(self, row: Row) -> Row:
        if not self.rename:
            return row
        renamed = {self.rename.get(name, name): value for name, value in row.items()}
        return FaultyRow(renamed, row.fault) if isinstance(row, FaultyRow) else renamed


def unique_names(paths: Sequence[str]) -> dict[str, str]:
    """Returns a name for each path: its file name without suffixes where no other file has that.

    Files that share it get as much of their paths as tells them apart.
    """
    names: dict[str, str] = {}
    left, depth = list(paths), 0
    while left:
        forms = {path: _short_name(path, depth) for path in left}
        counts = Counter(forms.values())
        names |= {path: form for path, form in forms.items() if counts[form] == 1}
        left, depth = [path for path in left if path not in names], depth + 1
    return names


def _short_name(path: str, depth: int) -> str:
    """Returns the last `depth` parts of the path; for 0, the file name without suffixes."""
    parts = path.split("/")
    return "/".join(parts[-depth:]) if depth else parts[-1].split(".")[0]


def is_missing(value: Any) -> bool:
    """Tells whether a cell is null, NaN, or a text that is empty or spells NaN."""
    if isinstance(value, float):
        return math.isnan(value)
    return value is None or (isinstance(value, str) and value.strip().lower() in ("", "nan"))

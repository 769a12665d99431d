"""Records in Parquet files, pictures in them or beside them: each there as a whole or not at all.

OUT/records/part-*.parquet and OUT/pictures/KEY.png; a file is written under a temporary name, then
renamed, the records last. So what is in the records is done, and all else may be done again.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from batch import rows
from batch.key_digests import Digests, digests
from batch.locations import locate
from batch.rows import OK, Row
from ray_stages.errors import InvalidRequest

RECORDS, PICTURES = "records", "pictures"
SETTINGS = "pipeline.json"
PARTIAL = ".partial-"


@dataclass(frozen=True)
class Store:
    """pictures: `parquet`, `png` or `both`."""

    filesystem: fs.FileSystem
    root: str
    pictures: str

    @classmethod
    def open(cls, place: str, pictures: str) -> Store:
        """Changes nothing yet."""
        try:
            return cls(*locate(place), pictures)
        except (OSError, ValueError, ImportError, pa.ArrowException) as error:
            raise _refusal(place, error) from error

    def check_same(self, settings: Mapping[str, Any]) -> None:
        """Refuses to mix pictures of two kinds: what decides how they look is kept beside them."""
        path = self.path(SETTINGS)
        if self.filesystem.get_file_info(path).type == fs.FileType.NotFound:
            return
        with self.filesystem.open_input_stream(path) as file:
            there = json.loads(file.read())
        asked = json.loads(json.dumps(settings))
        for name in sorted(there.keys() | asked.keys()):
            if there.get(name) != asked.get(name):
                expected = f"{there.get(name)!r} as for what is in {self.root}"
                limit = f"{expected}, or another output.path"
                raise InvalidRequest(name, repr(asked.get(name)), limit)

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Makes the folders, and removes what a killed run left half written."""
        text = json.dumps(settings, indent=2, sort_keys=True) + "\n"
        try:
            for folder in (RECORDS,) if self.pictures == "parquet" else (RECORDS, PICTURES):
                self.filesystem.create_dir(self.path(folder), recursive=True)
                for info in self._files(folder):
                    if info.base_name.startswith(PARTIAL):
                        self.filesystem.delete_file(info.path)
            self.put(self.path(SETTINGS), lambda file: file.write(text.encode()))
        except OSError as error:
            raise _refusal(self.root, error) from error

    def written(self) -> Digests:
        """Of the keys of all records."""
        return digests(self._keys())

    def write(self, batch: pa.Table) -> str:
        """The name of the part. The same rows always have the same name, so none is there twice."""
        keys = "\0".join(sorted(batch["key"].to_pylist()))
        name = f"part-{hashlib.blake2b(keys.encode(), digest_size=12).hexdigest()}.parquet"
        records = [self._record(row) for row in batch.to_pylist()]
        table = rows.table(records, rows.RECORD)
        self.put(self.path(RECORDS, name), lambda file: pq.write_table(table, file))
        return name

    def picture(self, part: str, key: str) -> bytes:
        """Of a row that was drawn."""
        with self.filesystem.open_input_file(self.path(RECORDS, part)) as file:
            (row,) = pq.read_table(file, filters=[("key", "=", key)]).to_pylist()
        if row["png"] is not None:
            return bytes(row["png"])
        with self.filesystem.open_input_stream(self.path(row["file"])) as picture:
            return bytes(picture.read())

    def put(self, path: str, write: Callable[[pa.NativeFile], Any]) -> None:
        folder, _, name = path.rpartition("/")
        partial = f"{folder}/{PARTIAL}{uuid.uuid4().hex}-{name[-40:]}"
        with self.filesystem.open_output_stream(partial) as file:
            write(file)
        self.filesystem.move(partial, path)

    def _record(self, row: Row) -> Row:
        """Writes its picture, if that is to be a file of its own."""
        record = {name: row[name] for name in rows.RECORD.names}
        if row["status"] == OK and self.pictures != "parquet":
            png, record["file"] = row["png"], f"{PICTURES}/{rows.file_name(row['key'])}"
            self.put(self.path(record["file"]), lambda file: file.write(png))
            if self.pictures == "png":
                record["png"] = None
        return record

    def _keys(self) -> Iterator[str]:
        for info in self._files(RECORDS):
            if info.base_name.startswith("part-"):
                with self.filesystem.open_input_file(info.path) as file:
                    yield from pq.read_table(file, columns=["key"])["key"].to_pylist()

    def _files(self, folder: str) -> list[fs.FileInfo]:
        selector = fs.FileSelector(self.path(folder), allow_not_found=True)
        infos = self.filesystem.get_file_info(selector)
        return [info for info in infos if info.type == fs.FileType.File]

    def path(self, *names: str) -> str:
        return "/".join((self.root, *names))


def _refusal(place: str, error: Exception) -> InvalidRequest:
    return InvalidRequest("output.path", repr(place), f"a place that can be written ({error})")


class Writer:
    """Keeps what the summary needs of each row, and no picture."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def __call__(self, batch: pa.Table) -> pa.Table:
        part = self.store.write(batch)
        kept = [name for name in rows.RECEIPT.names if name in batch.column_names]
        receipts: list[Row] = batch.select(kept).to_pylist()
        return rows.table([{**row, "part": part} for row in receipts], rows.RECEIPT)

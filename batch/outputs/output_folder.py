"""The output folder: OUT/records/part-*.parquet and OUT/pictures/KEY.png.

A file is written under a temporary name and then renamed, so it is there as a whole or not at all.
Records are renamed after their pictures: a row that is in the records is done, any other is drawn
again.
"""

from __future__ import annotations

import functools
import hashlib
import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from batch import rows
from batch.key_digests import KeyDigests, WrittenRows, contains, digest_keys, merge
from batch.locations import resolve
from batch.rows import OK, Row
from ray_stages.errors import InvalidRequest

RECORDS, PICTURES = "records", "pictures"
SETTINGS_FILE = "pipeline.json"
PARTIAL_PREFIX = ".partial-"
VERSION_SCHEMA = pa.schema([rows.RECORD_SCHEMA.field(name) for name in ("key", "made_of")])


@dataclass(frozen=True)
class OutputFolder:
    """A folder on any file system. pictures: `parquet`, `png` or `both`."""

    filesystem: fs.FileSystem
    root: str
    pictures: str

    @classmethod
    def open(cls, location: str, pictures: str) -> OutputFolder:
        """Creates nothing yet. Raises InvalidRequest where there is no such file system."""
        try:
            return cls(*resolve(location), pictures)
        except (OSError, ValueError, ImportError, pa.ArrowException) as error:
            raise _not_writable(location, error) from error

    def check_settings(self, settings: Mapping[str, Any]) -> None:
        """Raises InvalidRequest where the folder's pictures were drawn with other settings."""
        path = self.path(SETTINGS_FILE)
        if not self._exists(path):
            return
        with self.filesystem.open_input_stream(path) as file:
            previous = json.loads(file.read())
        given = json.loads(json.dumps(settings))
        for name in sorted(previous.keys() | given.keys()):
            if previous.get(name) != given.get(name):
                expected = f"{previous.get(name)!r} as for what is in {self.root}"
                limit = f"{expected}, or another output.path"
                raise InvalidRequest(name, repr(given.get(name)), limit)

    def prepare(self, settings: Mapping[str, Any]) -> None:
        """Creates the folders, stores the settings, and removes partial files of a killed run.

        Raises InvalidRequest where the folder cannot be written.
        """
        text = json.dumps(settings, indent=2, sort_keys=True) + "\n"
        try:
            for folder in (RECORDS,) if self.pictures == "parquet" else (RECORDS, PICTURES):
                self.filesystem.create_dir(self.path(folder), recursive=True)
                for info in self._files(folder):
                    if info.base_name.startswith(PARTIAL_PREFIX):
                        self.filesystem.delete_file(info.path)
            self.write_file(self.path(SETTINGS_FILE), lambda file: file.write(text.encode()))
        except OSError as error:
            raise _not_writable(self.root, error) from error

    def written(self) -> WrittenRows:
        """Returns the digests of the keys of all records, and of what these were made of."""
        keys, versions = [], []
        for path in self._parts():
            table = self._read_part(path, VERSION_SCHEMA)
            part_keys, made_of = table["key"].to_pylist(), table["made_of"].to_pylist()
            keys.append(digest_keys(part_keys))
            versions.append(digest_keys(map(rows.version, part_keys, made_of)))
        return WrittenRows(merge(keys), merge(versions))

    def remove(self, keys: KeyDigests) -> None:
        """Removes the records with these keys, and their pictures.

        A picture goes before its record: a run that is killed in between finds the record again.
        """
        for path in self._parts() if len(keys) else ():
            is_removed = contains(keys, self._read_part(path, VERSION_SCHEMA)["key"].to_pylist())
            if not is_removed.any():
                continue
            table = self._read_part(path, rows.RECORD_SCHEMA)
            for file in table.filter(pa.array(is_removed))["file"].to_pylist():
                if file and self._exists(self.path(file)):
                    self.filesystem.delete_file(self.path(file))
            if is_removed.all():
                self.filesystem.delete_file(path)
            else:
                kept = table.filter(pa.array(~is_removed))
                self.write_file(path, functools.partial(pq.write_table, kept))

    def write_part(self, batch: pa.Table) -> str:
        """Writes rows and their pictures. Returns the name of the Parquet file.

        The same rows always get the same name, so a task that Ray repeats writes no row twice.
        """
        keys = "\0".join(sorted(batch["key"].to_pylist()))
        name = f"part-{hashlib.blake2b(keys.encode(), digest_size=12).hexdigest()}.parquet"
        records = [self._record(row) for row in batch.to_pylist()]
        table = rows.to_table(records, rows.RECORD_SCHEMA)
        self.write_file(self.path(RECORDS, name), lambda file: pq.write_table(table, file))
        return name

    def read_picture(self, part: str, key: str) -> bytes:
        """Returns the PNG of a row that was drawn."""
        with self.filesystem.open_input_file(self.path(RECORDS, part)) as file:
            (row,) = pq.read_table(file, filters=[("key", "=", key)]).to_pylist()
        if row["png"] is not None:
            return bytes(row["png"])
        with self.filesystem.open_input_stream(self.path(row["file"])) as picture:
            return bytes(picture.read())

    def write_file(self, path: str, write: Callable[[pa.NativeFile], Any]) -> None:
        """Writes a file as a whole or not at all: `write` gets a stream to a temporary name."""
        folder, _, name = path.rpartition("/")
        partial = f"{folder}/{PARTIAL_PREFIX}{uuid.uuid4().hex}-{name[-40:]}"
        with self.filesystem.open_output_stream(partial) as file:
            write(file)
        self.filesystem.move(partial, path)

    def _record(self, row: Row) -> Row:
        """Returns the record of a row, and writes its picture where that is a file of its own."""
        record = {name: row[name] for name in rows.RECORD_SCHEMA.names}
        if row["status"] == OK and self.pictures != "parquet":
            png, record["file"] = row["png"], f"{PICTURES}/{rows.picture_file_name(row['key'])}"
            self.write_file(self.path(record["file"]), lambda file: file.write(png))
            if self.pictures == "png":
                record["png"] = None
        return record

    def _parts(self) -> list[str]:
        infos = self._files(RECORDS)
        return [info.path for info in infos if info.base_name.startswith("part-")]

    def _read_part(self, path: str, schema: pa.Schema) -> pa.Table:
        """Reads the columns of `schema`. Records of an older run lack some, which are then null."""
        with self.filesystem.open_input_file(path) as file:
            return pq.read_table(file, schema=schema)

    def _exists(self, path: str) -> bool:
        return bool(self.filesystem.get_file_info(path).type != fs.FileType.NotFound)

    def _files(self, folder: str) -> list[fs.FileInfo]:
        selector = fs.FileSelector(self.path(folder), allow_not_found=True)
        infos = self.filesystem.get_file_info(selector)
        return [info for info in infos if info.type == fs.FileType.File]

    def path(self, *names: str) -> str:
        """Returns the path of a file or folder in this folder."""
        return "/".join((self.root, *names))


def _not_writable(location: str, error: Exception) -> InvalidRequest:
    return InvalidRequest("output.path", repr(location), f"a place that can be written ({error})")

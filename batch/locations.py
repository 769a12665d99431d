"""Where files are: a local path, or a URL of any file system that pyarrow or fsspec knows."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pyarrow as pa
from pyarrow import fs

from ray_stages.errors import InvalidRequest

HIDDEN = (".", "_")  # names that begin so are no data, as everywhere around Hadoop and Arrow
ARROWS_OWN = ("s3", "gs", "gcs", "hdfs", "viewfs", "abfs", "abfss", "file")


def locate(place: str) -> tuple[fs.FileSystem, str]:
    """The file system and the path in it; ValueError where there is no such file system."""
    scheme, colon, _ = place.partition("://")
    if not colon:
        return fs.LocalFileSystem(), str(Path(place).expanduser().absolute())
    if scheme in ARROWS_OWN:
        filesystem, path = fs.FileSystem.from_uri(place)
        return filesystem, path
    import fsspec

    filesystem, path = fsspec.core.url_to_fs(place)
    return fs.PyFileSystem(fs.FSSpecHandler(filesystem)), path


def find(field: str, place: str) -> tuple[fs.FileSystem, list[str]]:
    """The files of a path, a folder or a pattern, sorted; refused by `field` where there are none.

    Folders are searched to the bottom.
    """
    try:
        filesystem, path = locate(place)
        files = sorted(_files(filesystem, path))
    except (OSError, ValueError, ImportError, pa.ArrowException) as error:
        raise InvalidRequest(field, repr(place), f"a place that can be read ({error})") from error
    if not files:
        raise InvalidRequest(field, repr(place), "a file, or a folder or pattern with files")
    return filesystem, files


def _files(filesystem: fs.FileSystem, path: str) -> Iterator[str]:
    folder, _, pattern = path.rpartition("/")
    if "*" in pattern:
        yield from _inside(filesystem, fs.FileSelector(folder), pattern)
        return
    kind = filesystem.get_file_info(path).type
    if kind == fs.FileType.File:
        yield path
    elif kind == fs.FileType.Directory:
        yield from _inside(filesystem, fs.FileSelector(path, recursive=True), "*")


def _inside(filesystem: fs.FileSystem, selector: fs.FileSelector, pattern: str) -> Iterator[str]:
    for info in filesystem.get_file_info(selector):
        data = info.type == fs.FileType.File and not info.base_name.startswith(HIDDEN)
        if data and fnmatch(info.base_name, pattern):
            yield info.path

"""Locations of files: a local path, or a URL of any file system that pyarrow or fsspec knows."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pyarrow as pa
from pyarrow import fs

from ray_stages.errors import InvalidRequest

HIDDEN_PREFIXES = (".", "_")  # such files hold no data, by the convention of Hadoop and Arrow
ARROW_SCHEMES = ("s3", "gs", "gcs", "hdfs", "viewfs", "abfs", "abfss", "file")


def resolve(location: str) -> tuple[fs.FileSystem, str]:
    """Returns the file system and the path in it. Raises ValueError for an unknown file system."""
    scheme, colon, _ = location.partition("://")
    if not colon:
        return fs.LocalFileSystem(), str(Path(location).expanduser().absolute())
    if scheme in ARROW_SCHEMES:
        filesystem, path = fs.FileSystem.from_uri(location)
        return filesystem, path
    import fsspec

    filesystem, path = fsspec.core.url_to_fs(location)
    return fs.PyFileSystem(fs.FSSpecHandler(filesystem)), path


def find_files(field: str, location: str) -> tuple[fs.FileSystem, list[str]]:
    """Returns the sorted files of a file, a folder with its subfolders, or a file name with `*`.

    Raises InvalidRequest with `field` where there are none.
    """
    try:
        filesystem, path = resolve(location)
        files = sorted(_files(filesystem, path))
    except (OSError, ValueError, ImportError, pa.ArrowException) as error:
        reason = f"a place that can be read ({error})"
        raise InvalidRequest(field, repr(location), reason) from error
    if not files:
        raise InvalidRequest(field, repr(location), "a file, or a folder or pattern with files")
    return filesystem, files


def _files(filesystem: fs.FileSystem, path: str) -> Iterator[str]:
    folder, _, pattern = path.rpartition("/")
    if "*" in pattern:
        yield from _matching(filesystem, fs.FileSelector(folder), pattern)
        return
    kind = filesystem.get_file_info(path).type
    if kind == fs.FileType.File:
        yield path
    elif kind == fs.FileType.Directory:
        yield from _matching(filesystem, fs.FileSelector(path, recursive=True), "*")


def _matching(filesystem: fs.FileSystem, selector: fs.FileSelector, pattern: str) -> Iterator[str]:
    for info in filesystem.get_file_info(selector):
        is_data = info.type == fs.FileType.File and not info.base_name.startswith(HIDDEN_PREFIXES)
        if is_data and fnmatch(info.base_name, pattern):
            yield info.path

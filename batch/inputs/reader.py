"""The Ray Data source of the input. Each file is a task, which prepares its rows while it reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pyarrow as pa
import ray
from ray.data import Dataset
from ray.data.block import BlockMetadata
from ray.data.datasource import Datasource, ReadTask

from batch import rows
from batch.inputs.row_preparer import RowPreparer
from batch.key_digests import KeyDigests, contains
from batch.rows import Row

CHUNK_ROWS = 1024


@dataclass(frozen=True)
class ReadContext:
    """What every reading task needs. written: digests of the versions that are already written."""

    preparer: RowPreparer
    written: KeyDigests


class PromptDatasource(Datasource):  # type: ignore[misc]
    """Reads the input's files, a file in each task."""

    def __init__(self, context: ReadContext) -> None:
        super().__init__()
        self.paths = context.preparer.files.paths
        self.context = ray.put(context)  # stored once, not copied into each task

    def estimate_inmemory_data_size(self) -> int | None:
        return None

    def get_read_tasks(self, parallelism: int, *_: Any, **__: Any) -> list[ReadTask]:
        metadata = BlockMetadata(None, None, None, None)
        return [
            ReadTask(lambda path=path: read_file(self.context, path), metadata)
            for path in self.paths
        ]


def read_file(context: ray.ObjectRef[ReadContext], path: str) -> Iterator[pa.Table]:
    """Yields the prepared rows of one file that are not yet written, failed ones among them."""
    preparer, written = (found := ray.get(context)).preparer, found.written
    files = preparer.files
    limit = preparer.row_limits[path] if preparer.row_limits is not None else None
    with files.open(path) as file:
        limited = islice(files.read(file, path), limit)
        named = (one for name, row in limited for one in preparer.join(name, row))
        while chunk := list(islice(named, CHUNK_ROWS)):
            yield rows.to_table(list(_pending(chunk, preparer, written)))


def _pending(
    chunk: list[tuple[str, Row]], preparer: RowPreparer, written: KeyDigests
) -> Iterator[Row]:
    prepared = [preparer.prepare(name, row) for name, row in chunk]
    versions = [rows.version(row["key"], row["made_of"]) for row in prepared]
    for row, is_written in zip(prepared, contains(written, versions), strict=True):
        if not is_written:
            yield row


def read_dataset(context: ReadContext, block_rows: int) -> Dataset:
    """Returns the prepared rows of all files, in blocks of `block_rows`."""
    files = len(context.preparer.files.paths)
    source = PromptDatasource(context)
    dataset = ray.data.read_datasource(source, num_cpus=0.25, override_num_blocks=files)
    return dataset.repartition(target_num_rows_per_block=block_rows)

"""Ray Data's reader of the input: each file a task, its rows prepared while they are read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy.typing as npt
import pyarrow as pa
import ray
from ray.data import Dataset
from ray.data.block import BlockMetadata
from ray.data.datasource import Datasource, ReadTask

from batch import rows
from batch.inputs.preparation import Preparation
from batch.key_digests import holds
from batch.rows import Row

CHUNK = 1024


@dataclass(frozen=True)
class Work:
    """What every reading task needs: how to prepare, and digests of the keys that are written."""

    preparation: Preparation
    written: npt.NDArray[Any]


class Prompts(Datasource):  # type: ignore[misc]
    def __init__(self, work: Work) -> None:
        super().__init__()
        self.paths = work.preparation.files.paths
        self.work = ray.put(work)  # once, and not in each task

    def estimate_inmemory_data_size(self) -> int | None:
        return None

    def get_read_tasks(self, parallelism: int, *_: Any, **__: Any) -> list[ReadTask]:
        metadata = BlockMetadata(None, None, None, None)
        return [ReadTask(lambda path=path: read(self.work, path), metadata) for path in self.paths]


def read(work: ray.ObjectRef[Work], path: str) -> Iterator[pa.Table]:
    """The rows of one file that are still to be drawn, or are in error."""
    preparation, written = (found := ray.get(work)).preparation, found.written
    files = preparation.files
    limit = preparation.limits[path] if preparation.limits is not None else None
    with files.open(path) as file:
        wanted = islice(files.read(file, path), limit)
        named = (one for name, row in wanted for one in preparation.joined(name, row))
        while chunk := list(islice(named, CHUNK)):
            yield rows.table(list(_missing(chunk, preparation, written)))


def _missing(
    chunk: list[tuple[str, Row]], preparation: Preparation, written: npt.NDArray[Any]
) -> Iterator[Row]:
    keys = [preparation.key(name, row) for name, row in chunk]
    for (name, row), there in zip(chunk, holds(written, keys), strict=True):
        if not there:
            yield preparation.prepare(name, row)


def dataset(work: Work, block: int) -> Dataset:
    """In blocks of so many rows, whatever the files are."""
    files = len(work.preparation.files.paths)
    source = ray.data.read_datasource(Prompts(work), num_cpus=0.25, override_num_blocks=files)
    return source.repartition(target_num_rows_per_block=block)

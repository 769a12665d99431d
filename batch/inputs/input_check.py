"""The check of the whole input before any work: every column is there, every key is unique."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np

from batch.inputs.row_preparer import RowPreparer
from batch.key_digests import KeyDigests, WrittenRows, contains, digest_keys, duplicates, merge
from batch.rows import Row, version
from ray_stages.errors import InvalidRequest

CHUNK_ROWS = 1024


@dataclass(frozen=True)
class InputCheck:
    """What the check found.

    rows: all rows after the join; pending: those not yet written; changed: digests of the keys of
    pending rows whose records were made of something else; unmatched: rows that the join leaves
    out; gone: records whose rows are no longer in the input, where all of it was read;
    first_rows: some rows, prepared.
    preparer: prepares no more rows than the pipeline's limit.
    """

    rows: int
    pending: int
    changed: KeyDigests
    unmatched: int
    gone: int
    first_rows: tuple[Row, ...]
    preparer: RowPreparer


@dataclass
class InputScan:
    """One pass over all files. row_counts: rows by file, before the join."""

    preparer: RowPreparer
    row_counts: dict[str, int] = field(default_factory=dict)
    unmatched: int = 0

    def rows(self) -> Iterator[tuple[str, Row]]:
        """Yields the joined rows with their names. Raises InvalidRequest for a missing column."""
        preparer, files = self.preparer, self.preparer.files
        left = preparer.pipeline.limit or None
        for path in files.paths:
            columns: set[str] = set()
            count = 0
            with files.open(path) as file:
                for name, row in islice(files.read(file, path), left):
                    count += 1
                    columns |= row.keys()
                    joined = preparer.join(name, row)
                    self.unmatched += not joined
                    yield from joined
            self.row_counts[path] = count
            left = None if left is None else left - count
            if count:
                self._check_columns(path, columns)

    def _check_columns(self, path: str, columns: set[str]) -> None:
        for column in self.preparer.required_columns:
            if column not in columns:
                offered = ", ".join(sorted(columns)) or "none"
                limit = f"one of: {offered}"
                raise InvalidRequest(f"column {column!r}", f"{path} without it", limit)


def check_input(preparer: RowPreparer, written: WrittenRows, show: int) -> InputCheck:
    """Reads the whole input, and keeps only the digests of the keys and the first `show` rows.

    Raises InvalidRequest where a column is missing, a key comes twice, or there are no rows.
    """
    scan = InputScan(preparer)
    prepared = (preparer.prepare(name, row) for name, row in scan.rows())
    first: list[Row] = []
    all_keys: list[KeyDigests] = []
    changed: list[KeyDigests] = []
    pending = 0
    while chunk := list(islice(prepared, CHUNK_ROWS)):
        first += chunk[: show - len(first)]
        keys = [row["key"] for row in chunk]
        is_new = ~contains(written.versions, [version(row["key"], row["made_of"]) for row in chunk])
        is_changed = is_new & contains(written.keys, keys)
        all_keys.append(digest_keys(keys))
        changed.append(
            digest_keys(key for key, is_one in zip(keys, is_changed, strict=True) if is_one)
        )
        pending += int(is_new.sum())
    known = merge(all_keys)
    if not len(known):
        raise InvalidRequest("input.path", "no rows", "at least one")
    if len(repeated := duplicates(known)):
        _refuse_duplicate(preparer, repeated)
    gone = int((~np.isin(written.keys, known)).sum())
    if preparer.pipeline.limit:
        preparer, gone = replace(preparer, row_limits=scan.row_counts), 0
    return InputCheck(
        len(known), pending, merge(changed), scan.unmatched, gone, tuple(first), preparer
    )


def _refuse_duplicate(preparer: RowPreparer, repeated: KeyDigests) -> None:
    """Raises InvalidRequest with the key itself, which a second pass over the input finds."""
    keys = (preparer.key(name, row) for name, row in InputScan(preparer).rows())
    key = next(key for key in keys if contains(repeated, [key])[0])
    columns = ", ".join(preparer.pipeline.input.key) or "input.key"
    raise InvalidRequest(columns, f"{key!r} in more than one row", "a key that names one row")

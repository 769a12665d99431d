"""The check of the whole input before any work: every column is there, every key is unique."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np

from batch.inputs.row_preparer import RowPreparer
from batch.key_digests import KeyDigests, contains, digest_keys, duplicates
from batch.rows import Row
from ray_stages.errors import InvalidRequest


@dataclass(frozen=True)
class InputCheck:
    """What the check found.

    rows: all rows after the join; pending: those not yet written; unmatched: rows that the join
    leaves out; first_rows: some rows, prepared.
    preparer: prepares no more rows than the pipeline's limit.
    """

    rows: int
    pending: int
    unmatched: int
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


def check_input(preparer: RowPreparer, written: KeyDigests, show: int) -> InputCheck:
    """Reads the whole input, and keeps only the digests of the keys and the first `show` rows.

    Raises InvalidRequest where a column is missing, a key comes twice, or there are no rows.
    """
    first: list[tuple[str, Row]] = []
    scan = InputScan(preparer)

    def keys() -> Iterator[str]:
        for name, row in scan.rows():
            if len(first) < show:
                first.append((name, row))
            yield preparer.key(name, row)

    known = digest_keys(keys())
    if not len(known):
        raise InvalidRequest("input.path", "no rows", "at least one")
    if len(repeated := duplicates(known)):
        _refuse_duplicate(preparer, repeated)
    if preparer.pipeline.limit:
        preparer = replace(preparer, row_limits=scan.row_counts)
    pending = len(known) - int(np.isin(known, written).sum())
    first_rows = tuple(preparer.prepare(name, row) for name, row in first)
    return InputCheck(len(known), pending, scan.unmatched, first_rows, preparer)


def _refuse_duplicate(preparer: RowPreparer, repeated: KeyDigests) -> None:
    """Raises InvalidRequest with the key itself, which a second pass over the input finds."""
    keys = (preparer.key(name, row) for name, row in InputScan(preparer).rows())
    key = next(key for key in keys if contains(repeated, [key])[0])
    columns = ", ".join(preparer.pipeline.input.key) or "input.key"
    raise InvalidRequest(columns, f"{key!r} in more than one row", "a key that names one row")

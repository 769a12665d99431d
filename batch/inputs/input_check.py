"""A first look at the whole input, before any work: is all there, is each key one row's alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np

from batch.inputs.preparation import Preparation
from batch.key_digests import Digests, digests, holds, twice
from batch.rows import Row
from ray_stages.errors import InvalidRequest


@dataclass(frozen=True)
class Survey:
    """left: rows not yet written; unmatched: rows that the join leaves out; first: some, prepared;
    preparation: of no more rows than the pipeline's limit.
    """

    rows: int
    left: int
    unmatched: int
    first: tuple[Row, ...]
    preparation: Preparation


@dataclass
class Pass:
    """Once through all files. counts: rows by file, before the join."""

    preparation: Preparation
    counts: dict[str, int] = field(default_factory=dict)
    unmatched: int = 0

    def rows(self) -> Iterator[tuple[str, Row]]:
        """Joined, each with its name. Refuses a file that lacks a column."""
        preparation, files = self.preparation, self.preparation.files
        left = preparation.pipeline.limit or None
        for path in files.paths:
            columns: set[str] = set()
            count = 0
            with files.open(path) as file:
                for name, row in islice(files.read(file, path), left):
                    count += 1
                    columns |= row.keys()
                    joined = preparation.joined(name, row)
                    self.unmatched += not joined
                    yield from joined
            self.counts[path] = count
            left = None if left is None else left - count
            if count:
                self._check_columns(path, columns)

    def _check_columns(self, path: str, columns: set[str]) -> None:
        for column in self.preparation.columns:
            if column not in columns:
                there = ", ".join(sorted(columns)) or "none"
                raise InvalidRequest(f"column {column!r}", f"{path} without it", f"one of: {there}")


def survey(preparation: Preparation, written: Digests, show: int) -> Survey:
    """Reads everything, keeps only digests of the keys, and the first rows."""
    first: list[tuple[str, Row]] = []
    passing = Pass(preparation)

    def keys() -> Iterator[str]:
        for name, row in passing.rows():
            if len(first) < show:
                first.append((name, row))
            yield preparation.key(name, row)

    known = digests(keys())
    if not len(known):
        raise InvalidRequest("input.path", "no rows", "at least one")
    if len(again := twice(known)):
        _refuse_twice(preparation, again)
    if preparation.pipeline.limit:
        preparation = replace(preparation, limits=passing.counts)
    left = len(known) - int(np.isin(known, written).sum())
    shown = tuple(preparation.prepare(name, row) for name, row in first)
    return Survey(len(known), left, passing.unmatched, shown, preparation)


def _refuse_twice(preparation: Preparation, again: Digests) -> None:
    """Says which, at the price of another pass."""
    named = Pass(preparation).rows()
    keys = (preparation.key(name, row) for name, row in named)
    key = next(key for key in keys if holds(again, [key])[0])
    columns = ", ".join(preparation.pipeline.input.key) or "input.key"
    raise InvalidRequest(columns, f"{key!r} in more than one row", "a key that names one row")

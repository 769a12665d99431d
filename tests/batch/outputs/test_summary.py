"""The summary of a run."""

from __future__ import annotations

import pytest

from batch.configuration.pipeline import parse
from batch.outputs.summary import Tally
from batch.rows import RECEIPT, Row

LEAST = {"input": {"path": "p.csv"}, "prompt": "{a}", "output": {"path": "out", "sheet": 3}}


def receipt(key: str, **said: object) -> Row:
    row = {"key": key, "status": "ok", "part": "part-1", "denoise_ms": 100.0}
    return {**dict.fromkeys(RECEIPT.names), **row, **said}


def tally_of(receipts: list[Row], seconds: float = 10.0) -> Tally:
    operators = {"denoise": {"concurrency": 2}}
    tally = Tally(parse({**LEAST, "operators": operators}))
    for one in receipts:
        tally.add(one)
    tally.last = tally.began + seconds
    return tally


def test_it_counts_what_was_drawn_and_what_failed_by_kind() -> None:
    bad = {"status": "error", "denoise_ms": None}
    rows = [receipt(str(n)) for n in range(100)]
    rows += [receipt("b", kind="invalid prompt", **bad), receipt("c", kind="ValueError", **bad)]
    tally = tally_of([*rows, receipt("d", kind="invalid prompt", **bad)])
    assert tally.summary().splitlines() == [
        "103 rows in 0:10: 100 drawn, 3 in error; 10.0 pictures/s",
        "  2 invalid prompt",
        "  1 ValueError",
        "busy: encode 0%, denoise 50%, decode 0%",
    ]
    assert tally.progress(206) == "103 of 206 rows, 10.3 rows/s, 0:10 left"


def test_a_busy_share_is_of_all_actors() -> None:
    assert tally_of([receipt("a")]).busy_shares()["denoise"] == pytest.approx(0.1 / 20)


def test_the_sample_does_not_depend_on_the_order() -> None:
    rows = [receipt(f"row {n}") for n in range(50)]
    first, second = tally_of(rows), tally_of(rows[::-1])
    assert len(first.sample) == 3
    assert sorted(first.sample) == sorted(second.sample)


def test_nothing_to_do_is_no_division_by_zero() -> None:
    assert tally_of([], seconds=0).summary().startswith("0 rows in 0:00: 0 drawn")

"""The summary of a run."""

from __future__ import annotations

import pytest

from batch.configuration.pipeline import parse_pipeline
from batch.outputs.summary import RunSummary
from batch.rows import OUTCOME_SCHEMA, Row

MINIMAL = {"input": {"path": "p.csv"}, "prompt": "{a}", "output": {"path": "out", "sheet": 3}}


def outcome(key: str, **fields: object) -> Row:
    row = {"key": key, "status": "ok", "part": "part-1", "denoise_ms": 100.0}
    return {**dict.fromkeys(OUTCOME_SCHEMA.names), **row, **fields}


def summary_of(outcomes: list[Row], seconds: float = 10.0) -> RunSummary:
    operators = {"denoise": {"concurrency": 2}}
    summary = RunSummary(parse_pipeline({**MINIMAL, "operators": operators}))
    for one in outcomes:
        summary.add(one)
    summary.last_row = summary.started + seconds
    return summary


def test_it_counts_what_was_drawn_and_what_failed_by_kind() -> None:
    bad = {"status": "error", "denoise_ms": None}
    rows = [outcome(str(n)) for n in range(100)]
    rows += [outcome("b", kind="invalid prompt", **bad), outcome("c", kind="ValueError", **bad)]
    summary = summary_of([*rows, outcome("d", kind="invalid prompt", **bad)])
    assert summary.text().splitlines() == [
        "103 rows in 0:10: 100 drawn, 3 in error; 10.0 pictures/s",
        "  2 invalid prompt",
        "  1 ValueError",
        "busy: encode 0%, denoise 50%, decode 0%",
    ]
    assert summary.progress(206) == "103 of 206 rows, 10.3 rows/s, 0:10 left"


def test_a_busy_share_counts_all_actors() -> None:
    assert summary_of([outcome("a")]).busy_shares()["denoise"] == pytest.approx(0.1 / 20)


def test_the_sample_does_not_depend_on_the_order() -> None:
    rows = [outcome(f"row {n}") for n in range(50)]
    first, second = summary_of(rows), summary_of(rows[::-1])
    assert len(first.sample) == 3
    assert sorted(first.sample) == sorted(second.sample)


def test_a_run_without_rows_does_not_divide_by_zero() -> None:
    assert summary_of([], seconds=0).text().startswith("0 rows in 0:00: 0 drawn")

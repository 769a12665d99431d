"""Sections of documents."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.measurement.results import RESULTS_FOLDER, Results
from benchmarks.reports import report, tables


def test_only_what_is_between_the_markers_is_written(tmp_path: Path) -> None:
    document = tmp_path / "doc.md"
    document.write_text("before\n<!-- results -->\nold\n<!-- /results -->\nafter\n")
    report.replace_section(document, "results", "new\n")
    assert document.read_text() == "before\n<!-- results -->\nnew\n<!-- /results -->\nafter\n"
    with pytest.raises(ValueError, match="no <!-- other -->"):
        report.replace_section(document, "other", "new")


@pytest.mark.parametrize("name", ["cpu-2-cores", "cpu-2-cores-same-runtime"])
def test_the_document_describes_the_stored_results(name: str) -> None:
    stored = Results.load(RESULTS_FOLDER / f"{name}.json")
    assert tables.describe_run(stored) in report.DOCUMENT.read_text()

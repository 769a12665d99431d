"""Sections of documents."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.reports import report


def test_only_what_is_between_the_markers_is_written(tmp_path: Path) -> None:
    document = tmp_path / "doc.md"
    document.write_text("before\n<!-- results -->\nold\n<!-- /results -->\nafter\n")
    report.replace_section(document, "results", "new\n")
    assert document.read_text() == "before\n<!-- results -->\nnew\n<!-- /results -->\nafter\n"
    with pytest.raises(ValueError, match="no <!-- other -->"):
        report.replace_section(document, "other", "new")

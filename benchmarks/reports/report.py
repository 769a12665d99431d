"""Publishes a result: on the terminal, in the documents, and as plots beside the figures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.measurement import results
from benchmarks.measurement.goals import check_goals
from benchmarks.measurement.machine import environment_facts
from benchmarks.measurement.results import Results
from benchmarks.reports import plots, tables
from ray_stages.settings import ROOT

DOCUMENT = ROOT / "docs" / "benchmarks.md"
QUICK = "quick"


def report(result: Results, console: Console, section: str = "results") -> None:
    """Writes tables and plots, and prints the goals.

    section: of docs/benchmarks.md. The tables of a quick run go into a file of their own, since its
    figures mean nothing.
    """
    files = plots.draw_all(result)
    if result.name.startswith(QUICK):
        (results.RESULTS_FOLDER / f"{result.name}.md").write_text(
            tables.markdown(result, images="")
        )
    else:
        replace_section(DOCUMENT, section, tables.markdown(result, images="../benchmarks/results/"))
    for verdict in check_goals(result.by_load()):
        console.print(
            verdict.line(result.labels),
            style="green" if verdict.met else "red",
            soft_wrap=True,
        )
    if result.name.startswith(QUICK):
        console.print("a quick run: everything works, but its figures mean nothing")
    console.print(f"{result.path} and {', '.join(file.name for file in files)}", soft_wrap=True)


def publish(name: str, figures: Mapping[str, Any], text: str, document: Path = DOCUMENT) -> None:
    """Writes the result of a small program: its JSON file, and its section of the document."""
    facts = environment_facts()
    results.RESULTS_FOLDER.mkdir(exist_ok=True)
    (results.RESULTS_FOLDER / f"{name}.json").write_text(json.dumps({**facts, **figures}) + "\n")
    replace_section(document, name, f"{tables.environment(facts)}\n\n{text}")


def replace_section(document: Path, name: str, text: str) -> None:
    """Replaces the text between `<!-- name -->` and `<!-- /name -->` in a document.

    Raises ValueError where the document lacks one of them.
    """
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    before, _, rest = document.read_text().partition(begin)
    _, end_marker, after = rest.partition(end)
    if not end_marker:
        raise ValueError(f"{document} has no {begin.strip()} … {end}")
    document.write_text(f"{before}{begin}{text.strip()}\n{end}{after}")

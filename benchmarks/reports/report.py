"""Puts a result where people see it: the terminal, docs/benchmarks.md, plots beside the figures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.measurement import results
from benchmarks.measurement.goals import verdicts
from benchmarks.measurement.machine import surroundings
from benchmarks.measurement.results import Results
from benchmarks.reports import plots, tables
from ray_stages.settings import ROOT

DOCUMENT = ROOT / "docs" / "benchmarks.md"
QUICK = "quick"


def report(found: Results, console: Console, section: str = "results") -> None:
    """section: of the document; a quick result has none, since its figures mean nothing."""
    files = plots.draw_all(found)
    if found.name.startswith(QUICK):
        (results.FOLDER / f"{found.name}.md").write_text(tables.markdown(found, images=""))
    else:
        write_between(DOCUMENT, section, tables.markdown(found, images="../benchmarks/results/"))
    for verdict in verdicts(found.by_load()):
        console.print(
            verdict.line(found.labels),
            style="green" if verdict.met else "red",
            soft_wrap=True,
        )
    if found.name.startswith(QUICK):
        console.print("a quick run: all works, but its figures mean nothing")
    console.print(f"{found.path} and {', '.join(file.name for file in files)}", soft_wrap=True)


def publish(name: str, figures: Mapping[str, Any], text: str, document: Path = DOCUMENT) -> None:
    """The result of a small program: its JSON, and its section of the document."""
    facts = surroundings()
    results.FOLDER.mkdir(exist_ok=True)
    (results.FOLDER / f"{name}.json").write_text(json.dumps({**facts, **figures}) + "\n")
    write_between(document, name, f"{tables.surroundings(facts)}\n\n{text}")


def write_between(document: Path, name: str, text: str) -> None:
    """Replaces what stands between `<!-- name -->` and `<!-- /name -->`."""
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    before, _, rest = document.read_text().partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise ValueError(f"{document} has no {begin.strip()} … {end}")
    document.write_text(f"{before}{begin}{text.strip()}\n{end}{after}")

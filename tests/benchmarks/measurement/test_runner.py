"""A run with fake peers: its order, its continuation, its tables and plots."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.measurement import results
from benchmarks.measurement.goals import GOALS
from benchmarks.measurement.plan import PEERS, Plan
from benchmarks.measurement.runner import Runner, difference
from benchmarks.reports import plots, tables
from ray_stages.settings import Settings
from tests.support.benchmark_peers import FACTS, FAKE_PEERS, LABELS, FakePeer, measurement_of, png


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Redirects results into this folder."""
    for module in (results, plots):
        monkeypatch.setattr(module, "RESULTS_FOLDER", tmp_path)
    FakePeer.started.clear()
    return tmp_path


PLAN = Plan(rounds=2, seconds=0.06, sweep=(1, 2, 16))


def run_plan(found: results.Results) -> None:
    console = Console(file=io.StringIO())
    asyncio.run(Runner(PLAN, FAKE_PEERS, Settings(), found, console).run())


def test_peers_take_turns_and_the_capacity_comes_first() -> None:
    sessions = list(PLAN.sessions())
    assert [load.name for load in sessions[0].loads] == ["capacity"]
    assert [session.peer for session in sessions[1:]] == [*PEERS, *PEERS]
    assert {load.name for load in sessions[4].loads} > {"1 client", "2 clients", "Poisson 80 %"}
    assert "2 clients" not in {load.name for load in sessions[8].loads}


def test_a_killed_run_is_continued(folder: Path) -> None:
    found = results.Results.begin("test", FACTS)
    run_plan(found)
    whole = len(found.measurements)
    left = results.Results.begin("test", FACTS)
    assert left.by_load().keys() == found.by_load().keys()
    left.measurements = [c for c in left.measurements if (c.peer, c.round) != ("serve", 1)]
    FakePeer.started.clear()
    run_plan(left)
    # The fake relay has no stream, so its loads with previews are still missing.
    assert FakePeer.started == ["relay", "serve", "relay"]
    assert len(left.measurements) == whole
    left.finish()
    assert len(results.Results.load(folder / "test.json").measurements) == whole
    assert not results.Results.begin("test", FACTS).measurements


def test_a_run_with_other_facts_is_not_continued(folder: Path) -> None:
    results.Results.begin("test", FACTS).add(measurement_of("serve", "1 client", [1.0], 1.0))
    assert results.Results.begin("test", FACTS).measurements
    assert not results.Results.begin("test", {**FACTS, "commit": "def"}).measurements


def test_a_result_becomes_tables_and_plots(folder: Path) -> None:
    found = results.Results.begin("test", FACTS)
    run_plan(found)
    text = tables.markdown(found, images="")
    assert "| Poisson 80 % | **relay** |" in text
    assert text.count("| goal |") == 1
    assert "within 0 of 255" in text
    for goal in GOALS:
        assert goal.text(LABELS) in text
    files = plots.draw_all(found)
    assert [file.name for file in files] == [
        "test-latency.png",
        "test-clients.png",
        "test-time.png",
    ]
    assert all(file.stat().st_size > 10_000 for file in files)


def test_pictures_are_compared_pixel_by_pixel() -> None:
    assert difference([png(), png(), png(3)]) == 3

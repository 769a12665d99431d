"""The parts of the benchmark that decide and count; what they measure is not tested here."""

from __future__ import annotations

import asyncio
import io
import itertools
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from benchmarks.loads.clients import Answer, DrawFailed, closed_loop, open_loop
from benchmarks.loads.plan import PEERS, Plan
from benchmarks.loads.samples import Cell, Sample, Summary, mean_spans, outside_share, percentile
from benchmarks.loads.workload import Wish, poisson, wishes
from benchmarks.measurement import results
from benchmarks.measurement.goals import GOALS, verdicts
from benchmarks.measurement.runner import Runner, difference
from benchmarks.peers.peer import Peer
from benchmarks.peers.pipeline import Times
from benchmarks.peers.relay import Relay
from benchmarks.png import to_png
from benchmarks.reports import plots, report, tables
from ray_stages.settings import Settings

MIX = (10, 20, 30)
LABELS = {key: key for key in PEERS}
FACTS = {
    "plan": {"steps": 4, "mix": [2, 4, 6], "rounds": 2, "seconds": 4.0},
    "model": {
        "name": "m",
        "dtype": "float32",
        "device": "cpu",
        "size": "8×8",
        "guidance_scale": 3.0,
        "threads": 2,
    },
    "peers": LABELS,
    "measured": "today",
    "commit": "abc",
    "machine": {"processor": "p", "cores": 2, "memory_gb": 1, "gpu": ""},
    "versions": {"torch": "2"},
}


def cell(peer: str, load: str, latencies: list[float], seconds: float, number: int = 0) -> Cell:
    spans = {"text_encoder": 0.1, "unet": 0.5, "vae_decoder": 0.1, "queue": 0.2}
    samples = [Sample(0.0, 20, latency, latency / 2, spans=spans) for latency in latencies]
    return Cell(peer, load, number, seconds, 2.0 * len(latencies), samples)


# The workload


def test_a_trace_is_the_same_for_the_same_seed() -> None:
    assert poisson([3], MIX, 5.0, 20.0) == poisson([3], MIX, 5.0, 20.0)
    assert poisson([3], MIX, 5.0, 20.0) != poisson([4], MIX, 5.0, 20.0)


def test_another_rate_draws_the_same_pattern_together() -> None:
    slow, fast = poisson([3], MIX, 2.0, 50.0), poisson([3], MIX, 4.0, 25.0)
    assert [(w.prompt, w.seed, w.steps) for w in slow] == [
        (w.prompt, w.seed, w.steps) for w in fast
    ]
    assert [w.at for w in slow] == pytest.approx([2 * w.at for w in fast])


def test_arrivals_are_poisson() -> None:
    trace = poisson([0], MIX, 10.0, 1000.0)
    gaps = np.diff([wish.at for wish in trace])
    assert len(trace) == pytest.approx(10_000, rel=0.05)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.05)
    assert {wish.steps for wish in trace} == set(MIX)


def test_wishes_differ() -> None:
    some = list(itertools.islice(wishes([0], [20]), 200))
    assert len({wish.prompt for wish in some}) == len({wish.seed for wish in some}) == 200


# The loads


def png(level: int = 0) -> bytes:
    return to_png(Image.new("RGB", (4, 4), (level, 0, 0)))


async def quickly(wish: Wish) -> Answer:
    await asyncio.sleep(0.01)
    return Answer(png(), first_step=0.0)


def test_a_closed_loop_asks_again_until_the_time_is_over() -> None:
    samples = asyncio.run(closed_loop(quickly, wishes([0], [20]), clients=4, seconds=0.05))
    assert len(samples) >= 8
    assert all(sample.latency >= 0.01 for sample in samples)


def test_a_closed_loop_asks_each_client_once_at_least() -> None:
    assert len(asyncio.run(closed_loop(quickly, wishes([0], [20]), clients=3, seconds=0))) == 3


def test_arrivals_wait_for_nobody_and_count_from_when_they_were_due() -> None:
    turn = asyncio.Lock()

    async def one_at_a_time(wish: Wish) -> Answer:
        async with turn:
            return await quickly(wish)

    trace = [Wish("", i, 20, at=0.001 * i) for i in range(5)]
    latencies = [s.latency for s in asyncio.run(open_loop(one_at_a_time, trace))]
    assert latencies == sorted(latencies)
    assert latencies[-1] > 0.04


def test_a_picture_that_did_not_come_is_counted() -> None:
    async def never(wish: Wish) -> Answer:
        raise DrawFailed("no")

    samples = asyncio.run(open_loop(never, [Wish("", 0, 20)]))
    summary = Summary.of([Cell("serve", "1 client", 0, 1.0, 0.0, samples)])
    assert (summary.pictures, summary.failed, summary.per_second) == (0, 1, 0.0)


# Figures


def test_percentiles_are_numpys_and_of_nothing_infinite() -> None:
    values = [3.0, 1.0, 2.0]
    assert percentile(values, 50) == 2.0
    assert percentile(values, 95) == pytest.approx(np.percentile(values, 95))
    assert percentile([], 95) == float("inf")


def test_a_summary_pools_the_rounds() -> None:
    cells = [cell("relay", "1 client", [1.0, 2.0], 3.0), cell("relay", "1 client", [3.0], 3.0, 1)]
    summary = Summary.of(cells)
    assert (summary.pictures, summary.p50, summary.wait_p50) == (3, 2.0, 1.0)
    assert summary.per_second == 0.5
    assert summary.cost == 2.0


def test_what_no_model_and_no_queue_had_is_outside() -> None:
    spans = mean_spans([cell("serve", "1 client", [1.0, 1.0], 2.0)])
    assert spans["outside"] == pytest.approx(0.1)
    assert outside_share(spans) == pytest.approx(0.1)
    assert plots.segments(spans)["waiting"] == pytest.approx(0.2)


def test_a_pipelines_times_add_up() -> None:
    times = Times(arrived=1, began=2, first_step=4, decoding=7, ended=11, returned=16)
    assert times.spans == {"queue": 6, "text_encoder": 2, "unet": 3, "vae_decoder": 4}


def test_hops_and_stages_add_up_to_the_latency() -> None:
    stages = ("text_encoder", "unet", "vae_decoder")
    spans = {name: 0.1 for stage in stages for name in (stage, f"{stage}_queue")}
    one = Cell("relay", "1 client", 0, 1.0, 0.0, [Sample(0.0, 20, 1.0, spans=spans)])
    means = {"triton": 0.9, **dict.fromkeys(stages, 0.25)}
    between = Relay(Settings()).hops(means, one)
    assert sum(between.values()) + sum(spans.values()) == pytest.approx(1.0)
    assert between["bridge ↔ unet"] == pytest.approx(0.05)


def test_goals_compare_ours_with_theirs() -> None:
    groups = {
        ("relay", "1 client"): [cell("relay", "1 client", [0.65], 1.0)],
        ("one_process", "1 client"): [cell("one_process", "1 client", [1.0], 1.0)],
        ("relay", "16 clients"): [cell("relay", "16 clients", [1.0] * 15, 10.0)],
        ("serve", "16 clients"): [cell("serve", "16 clients", [1.0] * 10, 10.0)],
        ("relay", "Poisson 80 %"): [cell("relay", "Poisson 80 %", [1.0], 1.0, 0)],
        ("serve_batch", "Poisson 80 %"): [cell("serve_batch", "Poisson 80 %", [4.0], 1.0, 0)],
    }
    found = {verdict.goal.peer: verdict for verdict in verdicts(groups)}
    assert found["one_process"].met
    assert not found["serve"].met
    assert found["serve"].ratio == pytest.approx(1.5)
    assert found["serve_batch"].met
    assert found["serve_batch"].spread == (0.25, 0.25)
    assert found["serve"].line(LABELS).startswith("FAIL  16 clients: our pictures a second")


# The run


class FakePeer(Peer):
    """Draws in no time, and nothing is started."""

    started: ClassVar[list[str]] = []

    async def start(self) -> None:
        FakePeer.started.append(self.key)

    async def stop(self) -> None: ...

    async def draw(self, wish: Wish) -> Answer:
        return await quickly(wish)

    def cpu_seconds(self) -> float:
        return 0.0


FAKES = {key: type("Fake", (FakePeer,), {"key": key, "label": key}) for key in PEERS}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Results go there."""
    for module in (results, plots):
        monkeypatch.setattr(module, "FOLDER", tmp_path)
    FakePeer.started.clear()
    return tmp_path


PLAN = Plan(rounds=2, seconds=0.06, sweep=(1, 2, 16))


def measure(found: results.Results) -> None:
    console = Console(file=io.StringIO())
    asyncio.run(Runner(PLAN, FAKES, Settings(), found, console).run())


def test_peers_take_turns_and_the_capacity_comes_first() -> None:
    visits = list(PLAN.visits())
    assert [load.name for load in visits[0].loads] == ["capacity"]
    assert [visit.peer for visit in visits[1:]] == [*PEERS, *PEERS]
    assert {load.name for load in visits[4].loads} > {"1 client", "2 clients", "Poisson 80 %"}
    assert "2 clients" not in {load.name for load in visits[8].loads}


def test_a_run_that_was_killed_goes_on_where_it_was(folder: Path) -> None:
    found = results.Results.begin("test", FACTS)
    measure(found)
    whole = len(found.cells)
    left = results.Results.begin("test", FACTS)
    assert left.by_load().keys() == found.by_load().keys()
    left.cells = [c for c in left.cells if (c.peer, c.round) != ("serve", 1)]
    FakePeer.started.clear()
    measure(left)
    # The fake relay has no stream, so it is asked again for its previews.
    assert FakePeer.started == ["relay", "serve", "relay"]
    assert len(left.cells) == whole
    left.finish()
    assert len(results.Results.load(folder / "test.json").cells) == whole
    assert not results.Results.begin("test", FACTS).cells


def test_what_was_measured_in_another_way_is_not_gone_on_with(folder: Path) -> None:
    results.Results.begin("test", FACTS).add(cell("serve", "1 client", [1.0], 1.0))
    assert results.Results.begin("test", FACTS).cells
    assert not results.Results.begin("test", {**FACTS, "commit": "def"}).cells


def test_a_result_becomes_tables_and_plots(folder: Path) -> None:
    found = results.Results.begin("test", FACTS)
    measure(found)
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


def test_only_what_is_between_the_markers_is_written(tmp_path: Path) -> None:
    document = tmp_path / "doc.md"
    document.write_text("before\n<!-- results -->\nold\n<!-- /results -->\nafter\n")
    report.write_between(document, "results", "new\n")
    assert document.read_text() == "before\n<!-- results -->\nnew\n<!-- /results -->\nafter\n"
    with pytest.raises(ValueError, match="no <!-- other -->"):
        report.write_between(document, "other", "new")

"""The benchmark of the batch pipeline, save for what it takes a Ray to see."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from threading import Timer
from types import SimpleNamespace
from typing import Any

from PIL import Image

from benchmarks import batch, batch_memory
from benchmarks.batch import LOADS, Cell, Gated, Plain, markdown


def test_the_plain_way_makes_a_call_for_each_number_of_steps_and_size() -> None:
    calls: list[dict[str, Any]] = []

    def pipeline(prompts: list[str], **options: Any) -> SimpleNamespace:
        calls.append({"prompts": prompts, **options})
        return SimpleNamespace(images=[Image.new("RGB", (64, 64))] * len(prompts))

    plain = Plain.__new__(Plain)
    plain.pipeline = pipeline
    shape = {"width": 64, "height": 64, "guidance_scale": 3.0, "seed": 1}
    rows: list[dict[str, Any]] = [
        {"prompt": n, "steps": s, **shape} for n, s in (("a", 4), ("b", 8), ("c", 4))
    ]
    plain.work(rows)
    assert [(call["prompts"], call["num_inference_steps"]) for call in calls] == [
        (["a", "c"], 4),
        (["b"], 8),
    ]
    assert all(row["png"].startswith(b"\x89PNG") for row in rows)


def test_the_goal_is_that_of_mixed_work() -> None:
    rates = {"plain": (2.0, 1.0, 1.0), "ours": (2.0, 1.5, 1.2)}
    cells = [
        Cell(load, peer, rate, 0.5, 100.0)
        for peer, own in rates.items()
        for load, rate in zip(LOADS, own, strict=True)
    ]
    assert markdown(cells).endswith("Goal on mixed work: 1.3×; 1.20×, **not met**.")
    assert "Goal on mixed work: 1.3×; 1.50×, met." in markdown(
        [cell for cell in cells if cell.load != "mixed steps and sizes"]
    )


def test_rows_are_the_same_for_all() -> None:
    rows, again = (list(islice(batch.asked("mixed steps and sizes"), 40)) for _ in range(2))
    assert rows == again
    assert {steps for _, steps, _ in rows} == set(batch.MIXED_STEPS)
    assert {size for _, _, size in rows} == set(batch.MIXED_SIZES)


def test_those_to_begin_with_fill_every_operator_and_have_all_sizes() -> None:
    rows = list(batch.cheap("mixed steps and sizes"))
    assert {size for _, _, size in rows} == set(batch.MIXED_SIZES)
    pipeline = batch.pipeline_of(Path())
    assert all(len(rows) % pipeline.operator(name).batch_size == 0 for name in pipeline.stations)
    assert len(rows) % batch.BATCH == 0


def test_a_file_that_is_held_back_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "rest.csv"
    batch.write_prompts(path, [("a star", 4, 64)])
    files = Gated.of("input", (str(path),), "auto", {})
    held = path.rename(tmp_path / "held")
    timer = Timer(0.2, held.rename, (path,))
    timer.start()
    assert [row for _, row in files.rows()] == [
        {"prompt": "a star", "steps": "4", "width": "64", "height": "64"}
    ]
    timer.join()


def test_memory_is_told_by_quarters() -> None:
    looks = [batch_memory.Look(n, store=n, driver=100, workers=50 + n) for n in range(8)]
    lines = batch_memory.markdown(looks, 20_000, 2, 90).splitlines()
    assert lines[0] == "20,000 rows drawn at 2 steps in 1.5 minutes; the peaks:"
    assert lines[-1] == "| 4 of 4 | 7 | 100 | 57 |"

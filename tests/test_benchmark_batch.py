"""The benchmark of the batch pipeline, save for what it takes a Ray to see."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from PIL import Image

from benchmarks import batch, batch_memory
from benchmarks.batch import LOADS, Cell, Plain, markdown, write_prompts


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


def test_rows_are_the_same_for_all(tmp_path: Path) -> None:
    files = []
    for _ in range(2):
        write_prompts(tmp_path, "mixed steps and sizes", 40)
        files.append((tmp_path / "prompts.csv").read_text())
    assert files[0] == files[1]
    rows = list(csv.DictReader(files[0].splitlines()))
    assert {int(row["steps"]) for row in rows} == set(batch.MIXED_STEPS)
    assert {row["width"] for row in rows} == {str(size) for size in batch.MIXED_SIZES}


def test_memory_is_told_by_quarters() -> None:
    looks = [batch_memory.Look(n, store=n, driver=100, workers=50 + n) for n in range(8)]
    lines = batch_memory.markdown(looks, 20_000, 2, 90).splitlines()
    assert lines[0] == "20,000 rows drawn at 2 steps in 1.5 minutes; the peaks:"
    assert lines[-1] == "| 4 of 4 | 7 | 100 | 57 |"

"""The benchmark of the batch pipeline, without a Ray."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from threading import Timer
from types import SimpleNamespace
from typing import Any

from PIL import Image

from benchmarks import batch_memory
from benchmarks.batch import prompts
from benchmarks.batch.markdown import markdown
from benchmarks.batch.measure import Measurement
from benchmarks.batch.plain_pipeline import PlainPipeline
from benchmarks.batch.prompts import LOADS, AwaitedFiles


def test_the_plain_pipeline_is_called_once_for_each_number_of_steps_and_size() -> None:
    calls: list[dict[str, Any]] = []

    def pipeline(prompts: list[str], **options: Any) -> SimpleNamespace:
        calls.append({"prompts": prompts, **options})
        return SimpleNamespace(images=[Image.new("RGB", (64, 64))] * len(prompts))

    plain = PlainPipeline.__new__(PlainPipeline)
    plain.pipeline = pipeline
    shape = {"width": 64, "height": 64, "guidance_scale": 3.0, "seed": 1}
    rows: list[dict[str, Any]] = [
        {"prompt": n, "steps": s, **shape} for n, s in (("a", 4), ("b", 8), ("c", 4))
    ]
    plain.compute(rows)
    assert [(call["prompts"], call["num_inference_steps"]) for call in calls] == [
        (["a", "c"], 4),
        (["b"], 8),
    ]
    assert all(row["png"].startswith(b"\x89PNG") for row in rows)


def test_the_goal_is_about_mixed_work() -> None:
    rates = {"plain": (2.0, 1.0, 1.0), "ours": (2.0, 1.5, 1.2)}
    measurements = [
        Measurement(load, peer, rate, 0.5, 100.0)
        for peer, own in rates.items()
        for load, rate in zip(LOADS, own, strict=True)
    ]
    assert markdown(measurements).endswith("Goal on mixed work: 1.3×; 1.20×, **not met**.")
    assert "Goal on mixed work: 1.3×; 1.50×, met." in markdown(
        [one for one in measurements if one.load != "mixed steps and sizes"]
    )


def test_rows_are_the_same_for_every_peer() -> None:
    rows, again = (
        list(islice(prompts.measured_rows("mixed steps and sizes"), 40)) for _ in range(2)
    )
    assert rows == again
    assert {steps for _, steps, _ in rows} == set(prompts.MIXED_STEPS)
    assert {size for _, _, size in rows} == set(prompts.MIXED_SIZES)


def test_warm_up_rows_fill_every_operator_and_have_all_sizes() -> None:
    rows = list(prompts.warm_up_rows("mixed steps and sizes"))
    assert {size for _, _, size in rows} == set(prompts.MIXED_SIZES)
    pipeline = prompts.benchmark_pipeline(Path())
    assert all(
        len(rows) % pipeline.operator(name).batch_size == 0 for name in pipeline.operator_names
    )
    assert len(rows) % prompts.BATCH_ROWS == 0


def test_a_file_that_appears_later_is_awaited(tmp_path: Path) -> None:
    path = tmp_path / "rest.csv"
    prompts.write_prompts(path, [("a star", 4, 64)])
    files = AwaitedFiles.find("input", (str(path),), "auto", {})
    held = path.rename(tmp_path / "held")
    timer = Timer(0.2, held.rename, (path,))
    timer.start()
    assert [row for _, row in files.rows()] == [
        {"prompt": "a star", "steps": "4", "width": "64", "height": "64"}
    ]
    timer.join()


def test_memory_is_reported_by_quarters() -> None:
    samples = [batch_memory.MemorySample(n, store=n, driver=100, workers=50 + n) for n in range(8)]
    lines = batch_memory.markdown(samples, 20_000, 2, 90).splitlines()
    assert lines[0] == "20,000 rows drawn at 2 steps in 1.5 minutes; the peaks:"
    assert lines[-1] == "| 4 of 4 | 7 | 100 | 57 |"

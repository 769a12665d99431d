"""The benchmark of runtimes: its decisions, comparisons and tables, without a model."""

from __future__ import annotations

import time
from concurrent.futures import TimeoutError as FutureTimeout
from pathlib import Path

import pytest
import torch
from PIL import Image

from benchmarks.common.png import to_png
from benchmarks.runtimes import markdown
from benchmarks.runtimes.batch_sizes import Padding, added_share, random_sizes
from benchmarks.runtimes.drawing import deviation
from benchmarks.runtimes.pictures import PictureResult
from benchmarks.runtimes.plan import COMPILED, REFERENCE, Candidate, Plan
from benchmarks.runtimes.replicas import Rate
from benchmarks.runtimes.stages import CandidateResult, disk_mb
from benchmarks.runtimes.worker_process import WorkerProcess, reason
from ray_stages.runtimes.catalog import RUNTIME_MODULES
from ray_stages.runtimes.padding import ROW_COUNTS
from ray_stages.settings import STAGES

CPU = torch.device("cpu")
RIGHT = {"background": 1.0, "colour": 0.9, "all": 0.95}


def png(level: int) -> bytes:
    """Four pixels, one of them of that level."""
    image = Image.new("RGB", (2, 2))
    image.putpixel((0, 0), (level, 0, 0))
    return to_png(image)


def result_of(label: str, times: list[float], reason: str = "") -> CandidateResult:
    runtime, precision = label.split("/")
    return CandidateResult(Candidate("unet", runtime, precision), reason, times={2: times})


# The plan


@pytest.mark.parametrize("stage", STAGES)
def test_the_reference_comes_first(stage: str) -> None:
    labels = [one.label for one in Plan().candidates(stage)]
    assert labels[0] == REFERENCE
    assert len(set(labels)) == len(labels)


@pytest.mark.parametrize("asked", [False, True])
def test_only_a_unet_is_compiled_and_only_when_asked(asked: bool) -> None:
    plan = Plan(compiled=asked)
    compiled = [one for stage in STAGES for one in plan.candidates(stage) if COMPILED in one.label]
    there = {("unet", "float32")} if asked and RUNTIME_MODULES[COMPILED].precisions(CPU) else set()
    assert {(one.stage, one.precision) for one in compiled} == there


def test_a_plan_may_name_its_candidates() -> None:
    plan = Plan(only=(REFERENCE,))
    assert list(plan.candidates("unet")) == [Candidate("unet", "torch", "float32")]


# Results


def test_a_pixel_counts_where_its_difference_is_visible() -> None:
    found = deviation([png(8), png(9), png(0)], [png(0), png(0)])
    assert (found.largest, found.share) == (9, 1 / 8)


def test_padding_adds_a_share_of_rows() -> None:
    assert added_share(ROW_COUNTS) == 0
    assert added_share([3]) == pytest.approx(1 / 3)
    assert random_sizes(50) == random_sizes(50)
    assert set(random_sizes(500)) == set(range(1, 17))


def test_the_size_on_disk_counts_only_the_files_that_are_opened(tmp_path: Path) -> None:
    assert disk_mb(tmp_path) == 0
    for name, size in {"openvino-1": 3_000_000, "openvino-1-int8": 1_000_000}.items():
        folder = tmp_path / "runtimes" / "unet-0" / name
        folder.mkdir(parents=True)
        (folder / "network.bin").write_bytes(bytes(size))
    (folder.parent / "tensorrt").mkdir()
    assert disk_mb(tmp_path) == 1


def test_a_failure_becomes_one_line() -> None:
    one = result_of(REFERENCE, [1.0])
    with one.recording_failure():
        raise ValueError("no | such\nlayer")
    assert one.reason == "ValueError: no / such"
    assert reason(FutureTimeout()) == "took too long"


@pytest.mark.timeout(60)
def test_a_worker_process_that_takes_too_long_is_killed() -> None:
    with WorkerProcess(limit=0.0) as process:
        process.ready.result()
        with pytest.raises(FutureTimeout):
            process(time.sleep, 600)


# Tables


def test_calls_are_compared_with_the_reference() -> None:
    found = [
        result_of(REFERENCE, [0.02, 0.03, 0.04]),
        result_of("openvino/int8", [0.005]),
        result_of("onnxruntime/float32", [], "no"),
    ]
    text = markdown.stage(found, [2])
    assert "| torch/float32 | 20.0 (30.0), 1.00× |" in text
    assert "| openvino/int8 | 5.0 (5.0), 0.25× |" in text
    assert "| onnxruntime/float32 | no |" in text
    assert len({line.count("|") for line in text.splitlines()}) == 1


@pytest.mark.parametrize(
    ("label", "largest", "share", "close"),
    [
        (REFERENCE, 2, 0.0, True),
        (REFERENCE, 3, 0.0, False),
        ("openvino/int8", 90, 0.01, True),
        ("openvino/int8", 9, 0.02, False),
    ],
)
def test_goals_of_pictures(label: str, largest: int, share: float, close: bool) -> None:
    drawn = PictureResult(label, "all", largest=largest, share=share)
    assert markdown.is_close(drawn) == close
    assert ("**not met**" in markdown.pictures([drawn])) != close


def test_an_evaluation_is_lower_by_a_point_at_most() -> None:
    drawn = [
        PictureResult(REFERENCE, "all", right=RIGHT),
        PictureResult("openvino/bfloat16", "all", right={**RIGHT, "all": 0.941}),
        PictureResult("openvino/int8", "all", right={**RIGHT, "all": 0.93}),
    ]
    lines = markdown.evaluation(drawn).splitlines()
    assert [line.split(" | ")[-1] for line in lines[3:5]] == ["met |", "**not met** |"]
    assert "-2.0" in lines[4]


def test_every_result_is_in_the_text() -> None:
    plan = Plan(rows=(2,), stages=("unet",))
    text = markdown.miniature(
        plan,
        {"unet": [result_of(REFERENCE, [0.02])]},
        [PictureResult(REFERENCE, "all", right=RIGHT), PictureResult("openvino/int8", "all", "no")],
        [Rate(REFERENCE, 2, 1, 70.0), Rate(REFERENCE, 4, 2, reason="its process died")],
        [Padding(REFERENCE, True, 8.0, 7.0), Padding(REFERENCE, False, reason="no")],
    )
    assert "| torch/float32 | 2 | 1 | 70.0 |" in text
    assert "| torch/float32 | 4 | 2 | its process died |" in text
    assert "| torch/float32 | padded | 8.0 | 7.0 |" in text
    assert "| openvino/int8 | no |" in text

"""Whole batch runs on a real Ray: killed and continued, and on nodes that die."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from batch.command import main
from batch.configuration.pipeline import load_pipeline
from batch.rows import OK
from ray_stages.families.checkpoint import Checkpoint
from tests.support.batch_inputs import preparer_for, records_of, write_rows
from tests.support.parity import InProcessStages
from tests.support.paths import ROOT
from tests.support.pictures import TOLERANCE, max_difference
from tests.support.waiting import wait_until

SECONDS = 240
GOOD: list[dict[str, Any]] = [
    {"name": f"row-{n}", "prompt": f"picture {n}", "steps": 12 + n % 5, "width": 64 + 64 * (n % 2)}
    for n in range(44)
]
BAD: list[dict[str, Any]] = [
    {"name": "empty", "prompt": ""},
    {"name": "type", "prompt": {"a": 1}},
    {"name": "limit", "prompt": "x" * 3000},
    {"name": "steps", "prompt": "x", "steps": 1000},
]
PIPELINE = """\
prompt = "{{prompt}}"
block = 4
[input]
path = "prompts.jsonl"
key = "name"
[draw]
model = "{model}"
device = "cpu"
precision = "float32"
negative_prompt = "a dull photo"
columns = ["steps", "width"]
[output]
path = "out"
pictures = "both"
rows = 4
sheet = 6
[operators.encode]
batch_size = 4
runtime = "torch"
[operators.denoise]
batch_size = 4
runtime = "torch"
max_rows = 8
{denoise}
[operators.decode]
batch_size = 4
runtime = "torch"
"""


@pytest.fixture
def write_pipeline(
    tmp_path: Path, checkpoint_folder: Callable[[str], Path]
) -> Callable[[str], None]:
    def make(denoise: str = "") -> None:
        write_rows(tmp_path / "prompts.jsonl", [*BAD, *GOOD])
        text = PIPELINE.format(model=checkpoint_folder("sd15"), denoise=denoise)
        (tmp_path / "pipeline.toml").write_text(text)

    return make


def start(folder: Path, *command: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def parts(folder: Path) -> list[Path]:
    return list((folder / "out" / "records").glob("part-*.parquet"))


def check_records(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checks that each row is there once, with the picture that the service draws for its seed."""
    records = records_of(folder / "out")
    assert [row["key"] for row in records] == sorted(row["name"] for row in [*GOOD, *BAD])
    drawn = [row for row in records if row["status"] == OK]
    failed = {row["key"]: row["kind"] for row in records if row["status"] != OK}
    kinds = {"empty": "prompt", "type": "prompt", "limit": "prompt", "steps": "steps"}
    assert failed == {key: f"invalid {kind}" for key, kind in kinds.items()}
    for row in drawn:
        assert (folder / "out" / row["file"]).read_bytes() == row["png"]
    monkeypatch.chdir(folder)
    preparer = preparer_for(load_pipeline(folder / "pipeline.toml"))
    service = InProcessStages(Checkpoint(preparer.settings))
    requests = [preparer.prepare(row["name"], row) for row in GOOD[:6]]
    for request, picture in zip(requests, service.draw(requests), strict=True):
        (row,) = [row for row in drawn if row["key"] == request["key"]]
        assert row["seed"] == request["seed"]
        assert max_difference(row["png"], picture) <= TOLERANCE
    service.engine.close()


@pytest.mark.timeout(600)
def test_a_killed_run_is_continued(
    tmp_path: Path,
    write_pipeline: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_pipeline("")
    first = start(tmp_path, "batch", "run", "pipeline.toml")
    wait_until(lambda: len(parts(tmp_path)) > 1 or first.poll() is not None, SECONDS)
    first.kill()
    first.wait()
    before = {part.name: part.stat().st_mtime_ns for part in parts(tmp_path)}
    assert 4 * len(before) < len(GOOD) + len(BAD)
    second = start(tmp_path, "batch", "run", "pipeline.toml")
    printed, _ = second.communicate(timeout=SECONDS)
    assert second.returncode == 0, printed
    done = 4 * len(before)
    assert f"48 rows, {48 - done} to draw, {done} written before" in printed
    assert "pictures/s" in printed
    assert "busy: encode" in printed
    assert not [row["prompt"] for row in GOOD if f"{row['prompt']}\n" in printed]
    after = {part.name: part.stat().st_mtime_ns for part in parts(tmp_path)}
    assert after.items() >= before.items()
    check_records(tmp_path, monkeypatch)
    assert Image.open(tmp_path / "out" / "contact-sheet.png").width == 6 * 130 - 2
    main(["run", "pipeline.toml"])
    assert "48 rows, 0 to draw, 48 written before" in capsys.readouterr().err


@pytest.mark.timeout(600)
def test_a_run_survives_the_loss_of_an_actor_and_a_node(
    tmp_path: Path, write_pipeline: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pipeline("concurrency = 2\nresources = { draws = 1 }")
    run = start(tmp_path, "tests.support.batch_cluster", "pipeline.toml")
    printed, _ = run.communicate(timeout=SECONDS)
    assert run.returncode == 0, printed
    assert "killed an actor" in printed
    assert "killed a node" in printed
    assert f"drawn {len(GOOD)} failed {len(BAD)}" in printed
    check_records(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("render nowhere.csv --out out", "batch: input.path: got 'nowhere.csv', expected a file"),
        ("render p.csv --column hue --out out", "batch: column 'hue': got "),
        ("render p.csv --column prompt --out out --steps 0", "batch: steps: got 0, expected 1 to"),
        ("render p.csv --column prompt --out p.csv", "batch: output.path: got "),
        ("run nowhere.toml", "No such file or directory: 'nowhere.toml'"),
    ],
)
def test_a_wrong_option_ends_the_run_before_any_work(
    tmp_path: Path,
    command: str,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "p.csv").write_text("prompt\na star\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(command.split())
    assert ended.value.code == 1
    assert message in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["p.csv"]

"""The snippets of docs/batch.md, run in their order, as a reader would."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pyarrow.dataset as ds
import pytest
from PIL import Image

from batch.configuration.pipeline import parse_pipeline
from tests.support.paths import ROOT
from training.enhancer.short_prompts import keeps

TEXT = (ROOT / "docs" / "batch.md").read_text()
SNIPPETS = re.findall(r"^```(toml|sh|python)\n(.*?)^```", TEXT, re.M | re.S)
LINKED = ".venv batch env_settings examples models ray_stages"
SECONDS = 500


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs all snippets in one folder, and returns it; each sees the files of those before it."""
    folder = tmp_path_factory.mktemp("docs")
    for name in LINKED.split():
        (folder / name).symlink_to(ROOT / name)
    printed = []
    for language, snippet in SNIPPETS:
        if language == "toml":
            name = snippet.splitlines()[0].removeprefix("# ")
            (folder / name).write_text(snippet)
            continue
        command = [sys.executable, "-c"] if language == "python" else ["bash", "-euc"]
        done = subprocess.run(
            [*command, snippet], cwd=folder, capture_output=True, text=True, timeout=SECONDS
        )
        assert done.returncode == 0, f"{snippet}\n{done.stderr}"
        printed.append(done.stdout + done.stderr)
    (folder / "printed").write_text("\n".join(printed))
    return folder


def records(folder: Path, name: str) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = (
        ds.dataset(folder / "out" / name / "records").to_table().to_pylist()
    )
    return rows


@pytest.mark.timeout(1200)
def test_all_pictures_are_written(folder: Path) -> None:
    drawn = {name: records(folder, name) for name in ("generate", "joined", "enhanced")}
    assert {name: len(rows) for name, rows in drawn.items()} == {
        "generate": 4,
        "joined": 12,
        "enhanced": 12,
    }
    assert {row["status"] for rows in drawn.values() for row in rows} == {"ok"}
    assert Image.open(folder / "first.png").size == (128, 128)
    assert len(list((folder / "out" / "enhanced" / "pictures").glob("s*.png"))) == 12


def test_enhanced_prompts_keep_the_words_of_the_short_ones(folder: Path) -> None:
    kept = [keeps(row["original_prompt"], row["prompt"]) for row in records(folder, "enhanced")]
    assert sum(kept) >= 11


def test_a_dry_run_shows_its_plan_and_writes_nothing(folder: Path) -> None:
    printed = (folder / "printed").read_text()
    assert "s01: 'star'" in printed
    assert "s01-small: 'a small yellow star at the top on a white background'" in printed
    assert "8 actor(s) of 1 CPU and 1 GPU" in printed
    assert not (folder / "out" / "expanded").exists()


def test_the_table_of_operators_has_the_defaults() -> None:
    pipeline = parse_pipeline({"input": {"path": "p"}, "prompt": "x", "output": {"path": "o"}})
    found = {name: pipeline.operator(name) for name in ("enhance", "encode", "denoise", "decode")}
    assert [one.batch_size for one in found.values()] == [64, 64, 64, 16]
    assert [one.cpus for one in found.values()] == [0.5, 0.5, 1.0, 0.5]
    assert [one.overlap for one in found.values()] == [1, 1, 3, 1]
    assert "| `batch_size` | 64; decode 16 |" in TEXT
    assert "0.5, denoise 1;" in TEXT
    assert "| `overlap` | 1; denoise 3 |" in TEXT

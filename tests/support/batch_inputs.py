"""Pipelines and tables for tests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from batch.configuration.pipeline import Pipeline, parse
from batch.inputs.preparation import Preparation
from batch.run import settings_of
from ray_stages.families.checkpoint import Checkpoint

EXACT = {"device": "cpu", "precision": "float32"}


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def pipeline_of(path: Path, out: Path, model: Path, **said: Any) -> Pipeline:
    """Over rows with a `prompt`, by PyTorch alone: nothing is exported or measured first."""
    torch = {"runtime": "torch", "batch_size": 8}
    whole = {
        "input": {"path": str(path), **said.pop("input", {})},
        "prompt": "{prompt}",
        "draw": {"model": str(model), "steps": 4, **EXACT, **said.pop("draw", {})},
        "output": {"path": str(out), "rows": 8, **said.pop("output", {})},
        "operators": {
            "encode": torch,
            "denoise": {**torch, "max_rows": 8},
            "decode": torch,
        },
        "block": 8,
        **said,
    }
    return parse(whole)


def preparation_of(pipeline: Pipeline) -> Preparation:
    settings = settings_of(pipeline)
    return Preparation.of(pipeline, settings, Checkpoint(settings).card)


def records_of(out: Path) -> list[dict[str, Any]]:
    """All that were written, in the order of their keys."""
    parts = (out / "records").glob("part-*.parquet")
    rows = [row for part in parts for row in pq.read_table(part).to_pylist()]
    return sorted(rows, key=lambda row: str(row["key"]))

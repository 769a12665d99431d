"""Batch pipelines, their inputs and their records, for tests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from batch.configuration.pipeline import Pipeline, parse_pipeline
from batch.inputs.row_preparer import RowPreparer
from batch.run import service_settings
from ray_stages.families.checkpoint import Checkpoint

EXACT_ON_CPU = {"device": "cpu", "precision": "float32"}


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def torch_pipeline(path: Path, out: Path, model: Path, **options: Any) -> Pipeline:
    """Reads rows with a `prompt`, and computes with PyTorch: nothing is exported or measured."""
    torch = {"runtime": "torch", "batch_size": 8}
    whole = {
        "input": {"path": str(path), **options.pop("input", {})},
        "prompt": "{prompt}",
        "draw": {"model": str(model), "steps": 4, **EXACT_ON_CPU, **options.pop("draw", {})},
        "output": {"path": str(out), "rows": 8, **options.pop("output", {})},
        "operators": {
            "encode": torch,
            "denoise": {**torch, "max_rows": 8},
            "decode": torch,
        },
        "block": 8,
        **options,
    }
    return parse_pipeline(whole)


def preparer_for(pipeline: Pipeline) -> RowPreparer:
    settings = service_settings(pipeline)
    return RowPreparer.create(pipeline, settings, Checkpoint(settings).card)


def records_of(out: Path) -> list[dict[str, Any]]:
    """Returns all records of an output folder, sorted by key."""
    parts = (out / "records").glob("part-*.parquet")
    rows = [row for part in parts for row in pq.read_table(part).to_pylist()]
    return sorted(rows, key=lambda row: str(row["key"]))

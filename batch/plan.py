"""What a run is about to do, in words."""

from __future__ import annotations

from batch.configuration.pipeline import Operator, Pipeline
from batch.inputs.input_check import Survey
from batch.rows import OK, Row


def plan(found: Survey, *, dry: bool) -> str:
    """A dry run's has the operators and the first prompts too."""
    pipeline = found.preparation.pipeline
    lines = [_rows(found)]
    if dry:
        lines += [_place(pipeline), *(_operator(name, pipeline) for name in pipeline.stations)]
        lines += [_first(row) for row in found.first]
    return "\n".join(lines)


def _rows(found: Survey) -> str:
    text = f"{found.rows} rows, {found.left} to draw, {found.rows - found.left} written before"
    return f"{text}, {found.unmatched} without a match left out" if found.unmatched else text


def _place(pipeline: Pipeline) -> str:
    output = pipeline.output
    return f"to {output.path}: {output.pictures}, {output.rows} rows a file"


def _operator(name: str, pipeline: Pipeline) -> str:
    operator: Operator = pipeline.operator(name)
    gpus = f"{operator.gpus:g}" if operator.gpus >= 0 else "a share of the"
    model = pipeline.enhance.model if name == "enhance" and pipeline.enhance else ""
    return (
        f"{name:8} {operator.concurrency} actor(s) of {operator.cpus:g} CPU and {gpus} GPU, "
        f"{operator.batch_size} rows a call{model and f', {model}'}"
    )


def _first(row: Row) -> str:
    if row["status"] != OK:
        return f"{row['key']}: {row['error']}"
    size = f"{row['width']}x{row['height']}"
    return f"{row['key']}: {row['prompt']!r}, {row['steps']} steps, {size}, seed {row['seed']}"

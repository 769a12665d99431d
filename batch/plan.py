"""The lines that tell what a run is about to do."""

from __future__ import annotations

from batch.configuration.options import OperatorOptions
from batch.configuration.pipeline import Pipeline
from batch.inputs.input_check import InputCheck
from batch.rows import OK, Row


def describe_plan(check: InputCheck, *, dry_run: bool) -> str:
    """Returns a line with the numbers of rows. A dry run adds the operators and the first rows."""
    pipeline = check.preparer.pipeline
    lines = [_row_counts(check)]
    if dry_run:
        lines.append(_output(pipeline))
        lines += [_operator(name, pipeline) for name in pipeline.operator_names]
        lines += [_row(row) for row in check.first_rows]
    return "\n".join(lines)


def _row_counts(check: InputCheck) -> str:
    written = check.rows - check.pending
    others = {
        "changed since they were written, to draw again": len(check.changed),
        "without a match left out": check.unmatched,
        "in the records and no longer in the input": check.gone,
    }
    return ", ".join(
        (
            f"{check.rows} rows, {check.pending} to draw, {written} written before",
            *(f"{count} {what}" for what, count in others.items() if count),
        )
    )


def _output(pipeline: Pipeline) -> str:
    output = pipeline.output
    return f"to {output.path}: {output.pictures}, {output.rows} rows a file"


def _operator(name: str, pipeline: Pipeline) -> str:
    operator: OperatorOptions = pipeline.operator(name)
    gpus = f"{operator.gpus:g}" if operator.gpus >= 0 else "a share of the"
    model = pipeline.enhance.model if name == "enhance" and pipeline.enhance else ""
    return (
        f"{name:8} {operator.concurrency} actor(s) of {operator.cpus:g} CPU and {gpus} GPU, "
        f"{operator.batch_size} rows a call{model and f', {model}'}"
    )


def _row(row: Row) -> str:
    if row["status"] != OK:
        return f"{row['key']}: {row['error']}"
    size = f"{row['width']}x{row['height']}"
    return f"{row['key']}: {row['prompt']!r}, {row['steps']} steps, {size}, seed {row['seed']}"

"""The configuration of a run, read from a TOML file or from command-line options and checked."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from batch.configuration.options import (
    FORMATS,
    OPERATOR_DEFAULTS,
    OPERATORS,
    PARAMETERS,
    DrawOptions,
    EnhanceOptions,
    InputOptions,
    JoinOptions,
    OperatorOptions,
    OutputOptions,
)
from batch.configuration.sections import read_section
from ray_stages.errors import InvalidRequest
from ray_stages.settings import RUNTIMES

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@dataclass(frozen=True)
class Pipeline:
    """Everything that a run needs to know.

    prompt: a text with `{column}` in it.
    block: how many rows travel together between operators.
    limit: how many rows are drawn; 0 stands for all.
    """

    input: InputOptions
    prompt: str
    output: OutputOptions
    join: JoinOptions | None = None
    enhance: EnhanceOptions | None = None
    draw: DrawOptions = field(default_factory=DrawOptions)
    operators: Mapping[str, OperatorOptions] = field(default_factory=dict)
    block: int = 64
    limit: int = 0

    def operator(self, name: str) -> OperatorOptions:
        return self.operators.get(name) or OperatorOptions(**OPERATOR_DEFAULTS[name])

    def with_limit(self, limit: int) -> Pipeline:
        """Raises InvalidRequest for a negative limit."""
        limited = replace(self, limit=limit)
        _check(limited)
        return limited

    @property
    def operator_names(self) -> tuple[str, ...]:
        """The operators that hold a model, in the order in which a row passes them."""
        return OPERATORS if self.enhance else OPERATORS[1:]


def load_pipeline(path: Path) -> Pipeline:
    """Reads a TOML file.

    Raises ValueError where it is not TOML, and InvalidRequest with the field of a wrong value.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: {error}") from error
    return parse_pipeline(data)


def parse_pipeline(data: Mapping[str, Any]) -> Pipeline:
    """Builds a pipeline from a file's content. Raises InvalidRequest with the field."""
    pipeline = read_section(Pipeline, _with_defaults(data), "")
    _check(pipeline)
    return pipeline


def _with_defaults(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """Adds the defaults of each operator that the file configures in part."""
    operators = data.get("operators")
    if not isinstance(operators, Mapping):
        return data
    whole = {
        name: {**OPERATOR_DEFAULTS.get(name, {}), **given} if isinstance(given, Mapping) else given
        for name, given in operators.items()
    }
    return {**data, "operators": whole}


def _check(pipeline: Pipeline) -> None:
    choices: list[tuple[str, str, Sequence[str]]] = [
        ("input.format", pipeline.input.format, FORMATS),
        ("output.pictures", pipeline.output.pictures, ("parquet", "png", "both")),
        *(("draw.columns", column, PARAMETERS) for column in pipeline.draw.columns),
        *(("operators", name, OPERATORS) for name in pipeline.operators),
        *(
            (f"operators.{name}.runtime", operator.runtime or "auto", RUNTIMES)
            for name, operator in pipeline.operators.items()
        ),
    ]
    if pipeline.join:
        choices.append(("join.format", pipeline.join.format, FORMATS))
        choices.append(("join.how", pipeline.join.how, ("inner", "left")))
    for where, value, offered in choices:
        if value not in offered:
            raise InvalidRequest(where, repr(value), f"one of {', '.join(offered)}")
    _check_numbers(pipeline)


def _check_numbers(pipeline: Pipeline) -> None:
    least: dict[str, tuple[float, float]] = {
        "block": (pipeline.block, 1),
        "limit": (pipeline.limit, 0),
        "draw.seed": (pipeline.draw.seed, 0),
        "output.rows": (pipeline.output.rows, 1),
        "output.sheet": (pipeline.output.sheet, 0),
    }
    if pipeline.enhance:
        least["enhance.max_new_tokens"] = pipeline.enhance.max_new_tokens, 1
        least["enhance.temperature"] = pipeline.enhance.temperature, 0
        least["enhance.seed"] = pipeline.enhance.seed, 0
        if not 0 < pipeline.enhance.top_p <= 1:
            raise InvalidRequest("enhance.top_p", pipeline.enhance.top_p, "over 0, to 1")
    for name, operator in pipeline.operators.items():
        for number in ("batch_size", "concurrency", "overlap"):
            least[f"operators.{name}.{number}"] = getattr(operator, number), 1
        for number in ("cpus", "threads", "max_rows"):
            least[f"operators.{name}.{number}"] = getattr(operator, number), 0
    for where, (value, low) in least.items():
        if not value >= low:
            raise InvalidRequest(where, f"{value:g}", f"at least {low:g}")

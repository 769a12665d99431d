"""What a run is to do: a pipeline's settings, from a TOML file or from flags, checked once."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from batch.configuration.sections import read_section
from ray_stages.errors import InvalidRequest
from ray_stages.settings import ROOT, RUNTIMES

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# What a row's own columns may set, where `draw.columns` names them.
PARAMETERS = (
    *("seed", "steps", "guidance_scale", "width", "height"),
    *("scheduler", "negative_prompt"),
)
OPERATORS = ("enhance", "encode", "denoise", "decode")
FORMATS = ("auto", "csv", "parquet", "jsonl", "text")


@dataclass(frozen=True)
class Table:
    """Files of one kind: paths or URLs, each a file, a folder, or a name with `*`.

    rename: new names of columns by their old ones; key: the columns that name a row; without, its
    file and its number in it do.
    """

    path: tuple[str, ...]
    format: str = "auto"
    rename: Mapping[str, str] = field(default_factory=dict)
    key: tuple[str, ...] = ()


@dataclass(frozen=True)
class Join:
    """A second table, small enough for memory, whose columns a row gets by the value of `on`.

    how: `inner` leaves out a row that finds nothing, `left` keeps it without the columns.
    """

    path: tuple[str, ...]
    on: str
    format: str = "auto"
    rename: Mapping[str, str] = field(default_factory=dict)
    how: str = "inner"


@dataclass(frozen=True)
class Enhance:
    """A chat model that writes the prompt out; temperature 0 takes its likeliest words.

    system: what it is told first, with `{name}` for an attribute or a column.
    """

    model: str = str(ROOT / "models" / "miniature-enhancer")
    system: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    max_new_tokens: int = 64
    temperature: float = 0.8
    top_p: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class Draw:
    """The pictures; a number below 0, or no text, leaves it to the service's settings or the model.

    seed: what each row's own is made of, with its key; columns: parameters that a row's columns of
    these names set.
    """

    model: str = ""
    device: str = ""
    precision: str = ""
    seed: int = 0
    steps: int = -1
    guidance_scale: float = -1.0
    width: int = -1
    height: int = -1
    scheduler: str = ""
    negative_prompt: str = ""
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Operator:
    """What one operator may use: actors, and for each its rows a call and its share of a machine.

    gpus: below 0 a share of one where there is one; threads and max_rows 0, and no runtime: what
    the service's settings say; accelerator, resources: as Ray knows them, to choose nodes;
    overlap: calls at once, so that one that ends leaves no gap.
    """

    batch_size: int = 32
    concurrency: int = 1
    cpus: float = 0.5
    gpus: float = -1.0
    threads: int = 0
    runtime: str = ""
    max_rows: int = 0
    overlap: int = 1
    accelerator: str = ""
    resources: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Output:
    """Records always go to Parquet; pictures into them, into PNG files, or both.

    rows: of one Parquet file, and what a kill may cost; sheet: pictures on the contact sheet.
    """

    path: str
    pictures: str = "parquet"
    rows: int = 256
    sheet: int = 24


DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "enhance": {"batch_size": 64},
    "encode": {"batch_size": 64},
    "denoise": {"batch_size": 64, "cpus": 1.0, "overlap": 3},
    "decode": {"batch_size": 16},
}


@dataclass(frozen=True)
class Pipeline:
    """prompt: a text with `{column}` in it; block: rows that travel together; limit 0: all rows."""

    input: Table
    prompt: str
    output: Output
    join: Join | None = None
    enhance: Enhance | None = None
    draw: Draw = field(default_factory=Draw)
    operators: Mapping[str, Operator] = field(default_factory=dict)
    block: int = 64
    limit: int = 0

    def operator(self, name: str) -> Operator:
        return self.operators.get(name) or Operator(**DEFAULTS[name])

    def limited(self, limit: int) -> Pipeline:
        limited = replace(self, limit=limit)
        _check(limited)
        return limited

    @property
    def stations(self) -> tuple[str, ...]:
        """The operators with a model, in their order."""
        return OPERATORS if self.enhance else OPERATORS[1:]


def load(path: Path) -> Pipeline:
    """A file that is no good is a ValueError, or an InvalidRequest that names the field."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: {error}") from error
    return parse(data)


def parse(data: Mapping[str, Any]) -> Pipeline:
    pipeline = read_section(Pipeline, _with_defaults(data), "")
    _check(pipeline)
    return pipeline


def _with_defaults(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of each operator its own, where the file says nothing else."""
    operators = data.get("operators")
    if not isinstance(operators, Mapping):
        return data
    whole = {
        name: {**DEFAULTS.get(name, {}), **given} if isinstance(given, Mapping) else given
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

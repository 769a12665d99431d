"""The sections of a pipeline file, as dataclasses. Field names are the file's own keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ray_stages.settings import ROOT

# The parameters of a picture that a row's own columns may set, where `draw.columns` names them.
PARAMETERS = (
    *("seed", "steps", "guidance_scale", "width", "height"),
    *("scheduler", "negative_prompt"),
)
FORMATS = ("auto", "csv", "parquet", "jsonl", "text")


@dataclass(frozen=True)
class InputOptions:
    """The files with the rows to draw.

    path: paths or URLs, each of a file, a folder, or a file name with `*`.
    rename: new column names by old ones.
    key: the columns whose values name a row. Without it, a row is named by its file and its number.
    """

    path: tuple[str, ...]
    format: str = "auto"
    rename: Mapping[str, str] = field(default_factory=dict)
    key: tuple[str, ...] = ()


@dataclass(frozen=True)
class JoinOptions:
    """A second table, small enough for memory. A row gets its columns by the value of `on`.

    how: `inner` leaves out a row without a match, `left` keeps it without the columns.
    """

    path: tuple[str, ...]
    on: str
    format: str = "auto"
    rename: Mapping[str, str] = field(default_factory=dict)
    how: str = "inner"


@dataclass(frozen=True)
class EnhanceOptions:
    """A chat model that writes a short prompt out to a full one.

    system: the system message, with `{name}` for an attribute or a column.
    temperature: 0 takes the likeliest token each time.
    """

    model: str = str(ROOT / "models" / "miniature-enhancer")
    system: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    max_new_tokens: int = 64
    temperature: float = 0.8
    top_p: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class DrawOptions:
    """The parameters of the pictures.

    A number below 0, or an empty text, stands for the default of the service or the model.

    seed: a row's own seed is made of this one and its key.
    columns: the parameters that a row's columns of the same names set.
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
class OperatorOptions:
    """The actors of one operator: how many, how many rows a call has, and what each may use.

    gpus: of each actor; below 0 a default share of one, where there is one.
    threads, max_rows: 0 stands for the service's setting; so does an empty runtime.
    overlap: calls in flight at once in one actor, so that the end of one leaves no gap.
    accelerator, resources: what a node must have, in Ray's own terms.
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


OPERATOR_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "enhance": {"batch_size": 64},
    "encode": {"batch_size": 64},
    "denoise": {"batch_size": 64, "cpus": 1.0, "overlap": 3},
    "decode": {"batch_size": 16},
}
OPERATORS = tuple(OPERATOR_DEFAULTS)


@dataclass(frozen=True)
class OutputOptions:
    """Where records and pictures go. Records always go into Parquet files.

    pictures: `parquet` puts them into the records, `png` into files of their own, `both` into both.
    rows: in one Parquet file, and so the most that a kill can cost.
    sheet: the number of pictures on the contact sheet.
    """

    path: str
    pictures: str = "parquet"
    rows: int = 256
    sheet: int = 24

"""Turns a row of the input into a row that can be drawn, or into a row with its error."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

import numpy as np

from batch import rows
from batch.configuration.options import DrawOptions
from batch.configuration.pipeline import Pipeline
from batch.configuration.sections import TYPE_NAMES
from batch.inputs.formats import FaultyRow
from batch.inputs.tables import TableFiles, is_missing
from batch.inputs.template import Template, value_text
from batch.rows import Row
from ray_stages.errors import InvalidRequest
from ray_stages.requests.fields import Array
from ray_stages.requests.model_card import ModelCard
from ray_stages.requests.stage_requests import DenoiseRequest, EncodeTextRequest
from ray_stages.settings import Settings

DTYPES: Mapping[type, Any] = {str: np.object_, int: np.int64, float: np.float32}
NUMBER_TYPES: Mapping[str, type] = {
    **dict.fromkeys(("seed", "steps", "width", "height"), int),
    "guidance_scale": float,
}


@dataclass(frozen=True)
class RowPreparer:
    """Joins, names, seeds and checks rows. Reading tasks get a copy of it.

    join_rows: rows of the second table by their value of `join.on`; join_columns: its columns.
    row_limits: how many rows of each file are wanted; None stands for all rows of all files.
    """

    pipeline: Pipeline
    settings: Settings
    card: ModelCard
    files: TableFiles
    prompt: Template
    system: Template | None = None
    join_rows: Mapping[str, list[Row]] = field(default_factory=dict)
    join_columns: frozenset[str] = frozenset()
    row_limits: Mapping[str, int] | None = None

    @classmethod
    def create(cls, pipeline: Pipeline, settings: Settings, card: ModelCard) -> RowPreparer:
        """Finds the input's files and reads the second table.

        Raises InvalidRequest where files, templates, or the parameters of all rows are wrong.
        """
        source, enhance = pipeline.input, pipeline.enhance
        files = TableFiles.find("input", source.path, source.format, source.rename)
        prompt = Template.parse("prompt", pipeline.prompt)
        system = Template.parse("enhance.system", enhance.system) if enhance else None
        preparer = cls(pipeline, settings, card, files, prompt, system)
        # A parameter of all rows that is wrong is refused now, and not once for each row.
        preparer._picture_parameters({}, pipeline.draw, seed=0)
        return preparer._with_join_table()

    @property
    def required_columns(self) -> list[str]:
        """The columns that every file of the input must have, the second table's aside."""
        pipeline = self.pipeline
        needed = [*pipeline.input.key, *self.prompt.names, *pipeline.draw.columns]
        if self.system and pipeline.enhance:
            needed += [n for n in self.system.names if n not in pipeline.enhance.attributes]
        on = [pipeline.join.on] if pipeline.join else []
        return [*on, *(name for name in needed if name not in self.join_columns)]

    def join(self, name: str, row: Row) -> list[tuple[str, Row]]:
        """Adds the second table's columns: returns one row, several numbered ones, or none.

        A faulty row stays alone, since the value that it would be joined by may be another's.
        """
        if isinstance(row, FaultyRow):
            return [(name, row)]
        matches = self._matches(row)
        if len(matches) == 1:
            return [(name, {**matches[0], **row})]
        return [(f"{name}-{i}", {**match, **row}) for i, match in enumerate(matches, start=1)]

    def key(self, name: str, row: Row) -> str:
        """Returns the row's key. A row with an invalid key goes by its file and number, `name`."""
        try:
            has_key = self.pipeline.input.key and not isinstance(row, FaultyRow)
            return rows.row_key(self.pipeline.input.key, row) if has_key else name
        except InvalidRequest:
            return name

    def prepare(self, name: str, row: Row) -> Row:
        """Returns prompt, key, seed and all parameters of the picture, or the row's error."""
        pipeline = self.pipeline
        prepared: Row = {"key": self.key(name, row), "model": self.card.name, "status": rows.OK}
        try:
            if isinstance(row, FaultyRow):
                raise row.fault
            if pipeline.input.key:
                rows.row_key(pipeline.input.key, row)
            prepared["prompt"] = self.prompt.fill(row)
            if self.system and pipeline.enhance:
                prepared["original_prompt"] = prepared["prompt"]
                prepared["system"] = self.system.fill({**row, **pipeline.enhance.attributes})
            seed = rows.row_seed(pipeline.draw.seed, prepared["key"])
            prepared |= self._picture_parameters(row, pipeline.draw, seed)
            check_prompt(prepared, self.card, self.settings)
        except InvalidRequest as error:
            rows.mark_failed(prepared, error)
        return {**prepared, "made_of": rows.content_digest(prepared)}

    def _picture_parameters(self, row: Row, draw: DrawOptions, seed: int) -> Row:
        """Returns the parameters as the service would fill them in for such a request."""
        given: Row = {name: getattr(draw, name) for name in ("scheduler", "negative_prompt")}
        given |= {name: getattr(draw, name) for name in NUMBER_TYPES if getattr(draw, name) >= 0}
        given["seed"] = seed
        own = {n: row.get(n) for n in draw.columns if not is_missing(row.get(n))}
        given |= {name: _parse_value(name, value) for name, value in own.items()}
        embeds = np.zeros((1, 1, self.card.embed_dim), np.float32)
        tensors = {"prompt_embeds": embeds, "negative_prompt_embeds": embeds}
        tensors |= request_tensors({name: value for name, value in given.items() if value != ""})
        request = DenoiseRequest.parse(tensors, self.card, self.settings)
        return {
            "negative_prompt": given["negative_prompt"],
            "seed": request.seeds[0],
            "steps": request.steps,
            "guidance_scale": request.guidance.scale,
            "width": request.width,
            "height": request.height,
            "scheduler": request.scheduler,
        }

    def _matches(self, row: Row) -> list[Row]:
        join = self.pipeline.join
        if join is None:
            return [{}]
        key = _join_key(row, join.on)
        found = self.join_rows.get(key) or self.join_rows.get(_whole_number(key), [])
        return found or ([{}] if join.how == "left" else [])

    def _with_join_table(self) -> RowPreparer:
        join = self.pipeline.join
        if join is None:
            return self
        files = TableFiles.find("join", join.path, join.format, join.rename)
        join_rows: dict[str, list[Row]] = defaultdict(list)
        columns: set[str] = set()
        for name, row in files.rows():
            if isinstance(row, FaultyRow):
                _, value, limit = row.fault.args
                raise InvalidRequest("join.path", f"{name}: {value}", limit)
            columns |= row.keys()
            if key := _join_key(row, join.on):
                join_rows[key].append(row)
        if join.on not in columns:
            offered = ", ".join(sorted(columns)) or "none"
            raise InvalidRequest("join.on", repr(join.on), f"a column of the table: {offered}")
        whole: dict[str, list[Row]] = defaultdict(list)
        for key, found in join_rows.items():
            if _whole_number(key) not in join_rows:
                whole[_whole_number(key)] += found
        return replace(self, join_rows={**join_rows, **whole}, join_columns=frozenset(columns))


def request_tensors(values: Mapping[str, Any]) -> dict[str, Array]:
    """Returns the values as the tensors [1] that a client would send."""
    return {
        name: np.array(
            [value.encode(errors="replace") if isinstance(value, str) else value],
            DTYPES[type(value)],
        )
        for name, value in values.items()
    }


def check_prompt(row: Row, card: ModelCard, settings: Settings) -> None:
    """Raises InvalidRequest where the service would refuse the row's prompts."""
    prompts = {"prompt": row["prompt"], "negative_prompt": row["negative_prompt"]}
    EncodeTextRequest.parse(request_tensors(prompts), card, settings)


def _join_key(row: Row, column: str) -> str:
    """Returns one text for 7, 7.0 and "7 ", whose type depends on the file; empty: no key."""
    value = row.get(column)
    is_scalar = isinstance(value, str | int | float) and not isinstance(value, bool)
    return value_text(column, value) if is_scalar and not is_missing(value) else ""


def _whole_number(key: str) -> str:
    """Returns 1 for 1.0, which pandas makes of a whole number in a column with a gap."""
    number, dot, fraction = key.partition(".")
    is_whole = dot and number.removeprefix("-").isdecimal() and fraction and not fraction.strip("0")
    return number if is_whole else key


def _parse_value(name: str, value: Any) -> Any:
    """Returns a cell's value in the type of the parameter `name`."""
    kind = NUMBER_TYPES.get(name, str)
    try:
        if kind is str or isinstance(value, bool):
            return kind(value) if isinstance(value, str) else _refuse(name, value, kind)
        return float(value) if kind is float else int(np.int64(_parse_integer(value)))
    except (TypeError, ValueError, OverflowError):
        return _refuse(name, value, kind)


def _parse_integer(value: Any) -> int:
    """Accepts 12, 12.0, "12" and "12.0". Raises ValueError for a fraction."""
    if isinstance(value, str):
        value = float(value) if "." in value else int(value)
    if isinstance(value, float) and not value.is_integer():
        raise ValueError(value)
    return int(value)


def _refuse(name: str, value: Any, kind: type) -> NoReturn:
    shown = repr(value)[:40] if kind is not str else f"a {type(value).__name__}"
    raise InvalidRequest(name, shown, TYPE_NAMES[kind])

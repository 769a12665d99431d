"""A row of the input to a row that can be drawn: joined, named, seeded, checked, or its error."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

import numpy as np

from batch import rows
from batch.configuration.pipeline import Draw, Pipeline
from batch.configuration.sections import KINDS
from batch.inputs.tables import Files, is_missing
from batch.inputs.template import Template, words_of
from batch.rows import Row
from ray_stages.errors import InvalidRequest
from ray_stages.requests.fields import Array
from ray_stages.requests.model_card import ModelCard
from ray_stages.requests.stage_requests import DenoiseRequest, TextRequest
from ray_stages.settings import Settings

DTYPES: Mapping[type, Any] = {str: np.object_, int: np.int64, float: np.float32}
NUMBERS: Mapping[str, type] = {
    **dict.fromkeys(("seed", "steps", "width", "height"), int),
    "guidance_scale": float,
}


@dataclass(frozen=True)
class Preparation:
    """second: rows of the table to join by the value of `on`; limits: rows of a file, where not
    all are wanted.
    """

    pipeline: Pipeline
    settings: Settings
    card: ModelCard
    files: Files
    prompt: Template
    system: Template | None = None
    second: Mapping[str, list[Row]] = field(default_factory=dict)
    second_columns: frozenset[str] = frozenset()
    limits: Mapping[str, int] | None = None

    @classmethod
    def of(cls, pipeline: Pipeline, settings: Settings, card: ModelCard) -> Preparation:
        source, enhance = pipeline.input, pipeline.enhance
        files = Files.of("input", source.path, source.format, source.rename)
        prompt = Template.parse("prompt", pipeline.prompt)
        system = Template.parse("enhance.system", enhance.system) if enhance else None
        made = cls(pipeline, settings, card, files, prompt, system)
        made._draw({}, pipeline.draw, seed=0)  # what holds for all rows is refused now
        return made._with_second_table()

    @property
    def columns(self) -> list[str]:
        """Those that every file of the input must have, when joined."""
        pipeline = self.pipeline
        needed = [*pipeline.input.key, *self.prompt.names, *pipeline.draw.columns]
        if self.system and pipeline.enhance:
            needed += [n for n in self.system.names if n not in pipeline.enhance.attributes]
        on = [pipeline.join.on] if pipeline.join else []
        return [*on, *(name for name in needed if name not in self.second_columns)]

    def joined(self, name: str, row: Row) -> list[tuple[str, Row]]:
        """With the second table's columns: a row, several with names of their own, or none."""
        matches = self._matches(row)
        if len(matches) == 1:
            return [(name, {**matches[0], **row})]
        return [(f"{name}-{i}", {**match, **row}) for i, match in enumerate(matches, start=1)]

    def key(self, name: str, row: Row) -> str:
        """A row whose key is no good goes by its file and number."""
        try:
            return rows.key_of(self.pipeline.input.key, row) if self.pipeline.input.key else name
        except InvalidRequest:
            return name

    def prepare(self, name: str, row: Row) -> Row:
        pipeline = self.pipeline
        prepared: Row = {"key": self.key(name, row), "model": self.card.name, "status": rows.OK}
        try:
            if pipeline.input.key:
                rows.key_of(pipeline.input.key, row)
            prepared["prompt"] = self.prompt.fill(row)
            if self.system and pipeline.enhance:
                prepared["original_prompt"] = prepared["prompt"]
                prepared["system"] = self.system.fill({**row, **pipeline.enhance.attributes})
            seed = rows.seed_of(pipeline.draw.seed, prepared["key"])
            prepared |= self._draw(row, pipeline.draw, seed)
            check_prompt(prepared, self.card, self.settings)
        except InvalidRequest as error:
            rows.fail(prepared, error)
        return prepared

    def _draw(self, row: Row, draw: Draw, seed: int) -> Row:
        """The parameters as the service would settle on them."""
        said: Row = {name: getattr(draw, name) for name in ("scheduler", "negative_prompt")}
        said |= {name: getattr(draw, name) for name in NUMBERS if getattr(draw, name) >= 0}
        said["seed"] = seed
        own = {n: row.get(n) for n in draw.columns if not is_missing(row.get(n))}
        said |= {name: _value(name, value) for name, value in own.items()}
        embeds = np.zeros((1, 1, self.card.embed_dim), np.float32)
        tensors = {"prompt_embeds": embeds, "negative_prompt_embeds": embeds}
        tensors |= tensors_of({name: value for name, value in said.items() if value != ""})
        request = DenoiseRequest.parse(tensors, self.card, self.settings)
        return {
            "negative_prompt": said["negative_prompt"],
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
        found = self.second.get(_join_key(row, join.on), [])
        return found or ([{}] if join.how == "left" else [])

    def _with_second_table(self) -> Preparation:
        join = self.pipeline.join
        if join is None:
            return self
        files = Files.of("join", join.path, join.format, join.rename)
        second: dict[str, list[Row]] = defaultdict(list)
        columns: set[str] = set()
        for _, row in files.rows():
            columns |= row.keys()
            if key := _join_key(row, join.on):
                second[key].append(row)
        if join.on not in columns:
            offered = ", ".join(sorted(columns)) or "none"
            raise InvalidRequest("join.on", repr(join.on), f"a column of the table: {offered}")
        return replace(self, second=dict(second), second_columns=frozenset(columns))


def tensors_of(said: Mapping[str, Any]) -> dict[str, Array]:
    """As a client would send them."""
    return {
        name: np.array(
            [value.encode(errors="replace") if isinstance(value, str) else value],
            DTYPES[type(value)],
        )
        for name, value in said.items()
    }


def check_prompt(row: Row, card: ModelCard, settings: Settings) -> None:
    said = {"prompt": row["prompt"], "negative_prompt": row["negative_prompt"]}
    TextRequest.parse(tensors_of(said), card, settings)


def _join_key(row: Row, column: str) -> str:
    """7, 7.0 and "7 " are the same, whatever kind of file each is from; nothing is nobody's."""
    value = row.get(column)
    said = isinstance(value, str | int | float) and not isinstance(value, bool)
    return words_of(column, value) if said and not is_missing(value) else ""


def _value(name: str, value: Any) -> Any:
    """A text, or the number that a cell says."""
    kind = NUMBERS.get(name, str)
    try:
        if kind is str or isinstance(value, bool):
            return kind(value) if isinstance(value, str) else _refuse(name, value, kind)
        return float(value) if kind is float else int(np.int64(_whole(value)))
    except (TypeError, ValueError, OverflowError):
        return _refuse(name, value, kind)


def _whole(value: Any) -> int:
    """12 and 12.0 are, as numbers and as texts."""
    if isinstance(value, str):
        value = float(value) if "." in value else int(value)
    if isinstance(value, float) and not value.is_integer():
        raise ValueError(value)
    return int(value)


def _refuse(name: str, value: Any, kind: type) -> NoReturn:
    shown = repr(value)[:40] if kind is not str else f"a {type(value).__name__}"
    raise InvalidRequest(name, shown, KINDS[kind])

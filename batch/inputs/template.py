"""Prompt templates: a text with `{column}` in it, and nothing but column names between braces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from string import Formatter
from typing import Any

import numpy as np

from batch.inputs.tables import is_missing
from ray_stages.errors import InvalidRequest

MAX_WHOLE_FLOAT = 2.0**53  # beyond it a float does not hold every whole number


@dataclass(frozen=True)
class Template:
    """A parsed template. `{{` and `}}` stand for braces.

    A name is never a path into a value: `{a.b}` is the column of that name.
    """

    parts: tuple[tuple[str, str | None], ...]

    @classmethod
    def parse(cls, field: str, text: str) -> Template:
        """Raises InvalidRequest with `field` where braces do not fit or hold more than a name."""
        try:
            parsed = list(Formatter().parse(text))
        except ValueError as error:
            raise InvalidRequest(field, repr(text), f"braces that fit ({error})") from error
        for _, name, spec, conversion in parsed:
            if name == "" or spec or conversion:
                raise InvalidRequest(field, repr(text), "a column's name alone between braces")
        return cls(tuple((literal, name) for literal, name, _, _ in parsed))

    @property
    def names(self) -> list[str]:
        return [name for _, name in self.parts if name is not None]

    def fill(self, row: Mapping[str, Any]) -> str:
        """Raises InvalidRequest with the column where the row has neither a text nor a number."""
        texts = []
        for literal, name in self.parts:
            texts.append(literal)
            if name is not None:
                texts.append(value_text(name, row.get(name)))
        return "".join(texts)


def value_text(name: str, value: Any) -> str:
    """Returns a cell's value as a text. Raises InvalidRequest for anything but text and number."""
    if is_missing(value):
        raise InvalidRequest(name, "nothing", "some text")
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise InvalidRequest(name, f"a {type(value).__name__}", "a text or a number")
    return _number_text(value) if isinstance(value, float) else str(value).strip()


def _number_text(value: float) -> str:
    """Returns the shortest text that reads back as `value`, and 7 for 7.0."""
    if value.is_integer() and abs(value) < MAX_WHOLE_FLOAT:
        return str(int(value))
    with np.errstate(over="ignore"):
        short = np.float32(value)  # a column of float32 has 0.1 as 0.10000000149011612
    return str(short) if float(short) == value else repr(value)

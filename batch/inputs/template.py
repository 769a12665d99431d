"""A text with `{column}` in it, and nothing but names between the braces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from string import Formatter
from typing import Any

from batch.inputs.tables import is_missing
from ray_stages.errors import InvalidRequest


@dataclass(frozen=True)
class Template:
    """`{{` and `}}` stand for braces. A name is no path: `{a.b}` is the column of that name."""

    parts: tuple[tuple[str, str | None], ...]

    @classmethod
    def parse(cls, field: str, text: str) -> Template:
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
        """Refused by a column's name where the row has nothing there, or no text or number."""
        words = []
        for literal, name in self.parts:
            words.append(literal)
            if name is not None:
                words.append(words_of(name, row.get(name)))
        return "".join(words)


def words_of(name: str, value: Any) -> str:
    if is_missing(value):
        raise InvalidRequest(name, "nothing", "some text")
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise InvalidRequest(name, f"a {type(value).__name__}", "a text or a number")
    return f"{value:g}" if isinstance(value, float) else str(value).strip()

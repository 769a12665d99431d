"""Reads tables of a TOML file into frozen dataclasses. An error names field, value and limit."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from ray_stages.errors import InvalidRequest

T = TypeVar("T")
TYPE_NAMES = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}


def read_section(kind: type[T], data: Any, where: str) -> T:
    """Reads `data` into the dataclass `kind`.

    where: the section's name in messages; empty for the whole file.
    Raises InvalidRequest for an unknown key, a missing value, or a value of a wrong type.
    """
    if isinstance(data, kind):
        return data
    if not isinstance(data, Mapping):
        raise InvalidRequest(where, repr(data), "a table")
    known = {entry.name: entry for entry in fields(kind)}  # type: ignore[arg-type]
    hints = get_type_hints(kind)
    if unknown := sorted(data.keys() - known.keys()):
        raise InvalidRequest(where or "pipeline", repr(unknown[0]), f"one of {', '.join(known)}")
    for name, entry in known.items():
        required = entry.default is MISSING and entry.default_factory is MISSING
        if required and name not in data:
            raise InvalidRequest(_join(where, name), "nothing", "a value")
    return kind(**{n: _convert(hints[n], value, _join(where, n)) for n, value in data.items()})


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _convert(arguments[0], value, where)
    if is_dataclass(hint) and isinstance(hint, type):
        return read_section(hint, value, where)
    if origin is tuple:
        items = value if isinstance(value, list | tuple) else [value]
        return tuple(_convert(arguments[0], item, where) for item in items)
    if origin is Mapping:
        if not isinstance(value, Mapping):
            raise InvalidRequest(where, repr(value), "a table")
        return {
            name: _convert(arguments[1], one, _join(where, name)) for name, one in value.items()
        }
    return _convert_scalar(hint, value, where)


def _convert_scalar(kind: type, value: Any, where: str) -> Any:
    """Accepts a whole number where a number is expected, and never true or false for either."""
    fits = isinstance(value, kind) or (kind is float and isinstance(value, int))
    if not fits or (isinstance(value, bool) and kind is not bool):
        raise InvalidRequest(where, repr(value), TYPE_NAMES[kind])
    return float(value) if kind is float else value


def _join(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name

"""Reads a table of a TOML file into a frozen dataclass, or refuses it by name, value and limit."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from ray_stages.errors import InvalidRequest

T = TypeVar("T")
KINDS = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}


def read_section(kind: type[T], data: Any, where: str) -> T:
    """`where` is the section's name in messages, empty for the whole file."""
    if isinstance(data, kind):
        return data
    if not isinstance(data, Mapping):
        raise InvalidRequest(where, repr(data), "a table")
    known = {one.name: one for one in fields(kind)}  # type: ignore[arg-type]
    hints = get_type_hints(kind)
    if strange := sorted(data.keys() - known.keys()):
        raise InvalidRequest(where or "pipeline", repr(strange[0]), f"one of {', '.join(known)}")
    for name, one in known.items():
        required = one.default is MISSING and one.default_factory is MISSING
        if required and name not in data:
            raise InvalidRequest(_join(where, name), "nothing", "a value")
    return kind(**{n: _value(hints[n], value, _join(where, n)) for n, value in data.items()})


def _value(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _value(arguments[0], value, where)
    if is_dataclass(hint) and isinstance(hint, type):
        return read_section(hint, value, where)
    if origin is tuple:
        items = value if isinstance(value, list | tuple) else [value]
        return tuple(_value(arguments[0], item, where) for item in items)
    if origin is Mapping:
        if not isinstance(value, Mapping):
            raise InvalidRequest(where, repr(value), "a table")
        return {name: _value(arguments[1], one, _join(where, name)) for name, one in value.items()}
    return _plain(hint, value, where)


def _plain(kind: type, value: Any, where: str) -> Any:
    """A whole number is a number, too; true is neither."""
    fits = isinstance(value, kind) or (kind is float and isinstance(value, int))
    if not fits or (isinstance(value, bool) and kind is not bool):
        raise InvalidRequest(where, repr(value), KINDS[kind])
    return float(value) if kind is float else value


def _join(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name

"""Reads one field of a request, or refuses it by name, value and limit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ray_stages.errors import InvalidRequest

Array = npt.NDArray[Any]
Tensors = Mapping[str, Array]

NO_TEXT: Array = np.array([b""], dtype=np.object_)


def first(tensors: Tensors, field: str, default: Any) -> Any:
    return tensors[field].reshape(-1)[0] if field in tensors else default


def required(tensors: Tensors, field: str) -> Array:
    """Triton counts the inputs that a model needs, but not which they are."""
    if field not in tensors:
        raise InvalidRequest(field, "none", "a tensor")
    return tensors[field]


def integer(tensors: Tensors, field: str, default: int, low: int, high: int) -> int:
    value = int(first(tensors, field, default))
    if not low <= value <= high:
        raise InvalidRequest(field, value, f"{low} to {high}")
    return value


def number(tensors: Tensors, field: str, default: float, low: float, high: float) -> float:
    """What is not finite is refused too."""
    value = float(first(tensors, field, default))
    if not low <= value <= high:
        raise InvalidRequest(field, value, f"{low:g} to {high:g}")
    return value


def word(tensors: Tensors, field: str, default: str) -> str:
    value = first(tensors, field, default)
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def choice(tensors: Tensors, field: str, default: str, offered: list[str]) -> str:
    name = word(tensors, field, default)
    if name not in offered:
        raise InvalidRequest(field, repr(name[:40]), f"one of {', '.join(offered)}")
    return name


def texts(field: str, tensor: Array, max_chars: int) -> list[str]:
    """Private: an error tells their length, never their words."""
    found = []
    for item in tensor.reshape(-1):
        try:
            text = item.decode("utf-8") if isinstance(item, bytes) else str(item)
        except UnicodeDecodeError as error:
            raise InvalidRequest(field, f"bytes that break at {error.start}", "UTF-8") from None
        if len(text) > max_chars:
            raise InvalidRequest(field, f"{len(text)} characters", f"at most {max_chars}")
        found.append(text)
    return found


def rows(field: str, tensor: Array, most: int) -> int:
    if not 1 <= len(tensor) <= most:
        raise InvalidRequest(field, f"{len(tensor)} rows", f"1 to {most}")
    return len(tensor)


def one_or_each(n: int) -> str:
    return "1" if n == 1 else f"1, or one for each of {n} prompts"


def check_finite(field: str, tensor: Array) -> None:
    if not np.isfinite(tensor).all():
        raise InvalidRequest(field, "a value that is not finite", "finite numbers")

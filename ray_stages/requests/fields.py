"""Reads and checks single fields of a request.

Raises InvalidRequest, which names field, value and limit.
"""

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
    """Returns the first element of a tensor, or `default` if the field is missing."""
    return tensors[field].reshape(-1)[0] if field in tensors else default


def required(tensors: Tensors, field: str) -> Array:
    """Checks that the field is there: Triton checks only how many inputs a request has."""
    if field not in tensors:
        raise InvalidRequest(field, "none", "a tensor")
    return tensors[field]


def integer(tensors: Tensors, field: str, default: int, low: int, high: int) -> int:
    """Reads an integer from `low` to `high`, both included."""
    value = int(first(tensors, field, default))
    if not low <= value <= high:
        raise InvalidRequest(field, value, f"{low} to {high}")
    return value


def number(tensors: Tensors, field: str, default: float, low: float, high: float) -> float:
    """Reads a finite float from `low` to `high`."""
    value = float(first(tensors, field, default))
    if not low <= value <= high:
        raise InvalidRequest(field, value, f"{low:g} to {high:g}")
    return value


def string(tensors: Tensors, field: str, default: str) -> str:
    value = first(tensors, field, default)
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def choice(tensors: Tensors, field: str, default: str, offered: list[str]) -> str:
    """Reads one of the strings in `offered`."""
    name = string(tensors, field, default)
    if name not in offered:
        raise InvalidRequest(field, repr(name[:40]), f"one of {', '.join(offered)}")
    return name


def texts(field: str, tensor: Array, max_chars: int) -> list[str]:
    """Reads UTF-8 texts. Prompts are private: an error names their length, not their content."""
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
    """Checks and returns the number of rows: 1 to `most`."""
    if not 1 <= len(tensor) <= most:
        raise InvalidRequest(field, f"{len(tensor)} rows", f"1 to {most}")
    return len(tensor)


def one_or_n(n: int) -> str:
    """Returns the limit of a field with one value for all prompts, or one for each."""
    return "1" if n == 1 else f"1, or one for each of {n} prompts"


def check_finite(field: str, tensor: Array) -> None:
    if not np.isfinite(tensor).all():
        raise InvalidRequest(field, "a value that is not finite", "finite numbers")

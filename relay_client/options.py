"""The options of a picture, and their tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray

from relay_client.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

BYTES, INT64, INT32, FP32 = np.object_, np.int64, np.int32, np.float32


class Options(TypedDict, total=False):
    """The options of a picture. One that is left out, or None, has the model's default."""

    negative_prompt: str | None
    seed: int | Sequence[int] | None
    steps: int | None
    guidance_scale: float | None
    height: int | None
    width: int | None
    scheduler: str | None
    priority: int | None
    guidance_rescale: float | None
    guidance_start: float | None
    guidance_end: float | None
    dynamic_threshold: float | None


class Option(NamedTuple):
    """An option's tensor type, its Python type, and its text in --help."""

    dtype: type[np.generic]
    kind: type
    help: str


OPTIONS = {
    "negative_prompt": Option(BYTES, str, "what to keep out of the picture"),
    "seed": Option(INT64, int, "once for all pictures, or once for each"),
    "steps": Option(INT32, int, "how often to denoise"),
    "guidance_scale": Option(FP32, float, "how closely to follow the prompt"),
    "height": Option(INT32, int, "in pixels"),
    "width": Option(INT32, int, "in pixels"),
    "scheduler": Option(BYTES, str, "the sampler: ddim, euler, dpmpp_2m, pndm, …"),
    "priority": Option(INT32, int, "1 goes first, 9 last: 5"),
    "guidance_rescale": Option(
        FP32, float, "how far to tame what strong guidance overdoes, 0 to 1: 0"
    ),
    "guidance_start": Option(FP32, float, "from which share of the steps on guidance works: 0"),
    "guidance_end": Option(FP32, float, "up to which share of the steps it works: 1"),
    "dynamic_threshold": Option(
        FP32, float, "a quantile, such as 0.995; keeps colours from burning out: 0 (off)"
    ),
}


def option_tensors(options: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Returns the tensors of all options that are set. Raises TypeError for an unknown option."""
    if unknown := sorted(options.keys() - OPTIONS.keys()):
        raise TypeError(f"unknown option {unknown[0]!r}; there are {', '.join(OPTIONS)}")
    return {
        name: tensor(name, OPTIONS[name].dtype, value)
        for name, value in options.items()
        if value is not None
    }


def tensor(name: str, dtype: type[np.generic], value: Any) -> NDArray[Any]:
    """Returns one value or a sequence as a tensor [n].

    Raises RequestError for an integer that the type cannot hold.
    """
    values: Any = [value] if np.isscalar(value) else value
    if dtype is BYTES:
        # Text that is not UTF-8 is sent as it is, and the server refuses it.
        values = [
            text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
            for text in values
        ]
    elif issubclass(dtype, np.integer):
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
        for number in values:  # NumPy 1 would wrap it around without an error
            if not low <= number <= high:
                limits = f"expected {low} to {high}"
                raise RequestError("INVALID_ARGUMENT", f"{name}: got {number}, {limits}")
    with np.errstate(over="ignore"):  # infinity is refused by the server
        return np.array(values, dtype=dtype)

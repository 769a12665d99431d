"""Strategies for tensors on the wire: valid ones, and invalid ones of every kind."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy
from tritonclient.utils import triton_to_np_dtype

from ray_stages.requests.schedulers import SCHEDULERS
from tests.fuzz import image_files
from tests.fuzz.model_configs import Input, embed_dim

SIDE = 8  # of latents: 64 pixels
TOKENS = 77
DATATYPES = (
    *("BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"),
    *("FP16", "FP32", "FP64", "BYTES", "BF16", "", "fp32", "FP128"),
)
# A shape whose product exceeds 64 bits ends tritonserver 2.51, which is known: stay below.
LARGEST = 2**40
EXTREMES = (0, -1, 1, 2, 7, 63, 64, 65, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63))
FLOATS = (0.0, -0.0, 0.5, 1.0, 1.5, -1.0, 31.0, math.nan, math.inf, -math.inf, 3e38, 1e-45)
WORDS = (
    *(b"", b" ", b"\0", b"a red circle", b"\xff\xfe", b"\xed\xa0\x80", b"x" * 2000, b"x" * 2001),
    *("é".encode() * 2000, "\U0001f600".encode(), b"../../etc/passwd", b"%s%n{}", b"<|endoftext|>"),
    *("\u202e\u0000\u2028".encode(), b"ddim", b"base64", b"raw", b"mine"),
)


class Tensor(NamedTuple):
    """Name, datatype and shape as declared, and the bytes, which need not match them."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    raw: bytes

    @property
    def element_count(self) -> int:
        """Returns the product of the declared shape, without signs."""
        return math.prod(abs(size) for size in self.shape)

    def __repr__(self) -> str:
        more = "…" if len(self.raw) > 24 else ""
        return f"{self.name}:{self.datatype}{list(self.shape)}={self.raw[:24]!r}{more}"


def packed(name: str, datatype: str, values: Any) -> Tensor:
    """Returns a tensor whose bytes match its datatype and shape."""
    array = np.asarray(values, triton_to_np_dtype(datatype))
    if datatype != "BYTES":
        return Tensor(name, datatype, array.shape, array.tobytes())
    parts = [struct.pack("<I", len(item)) + item for item in array.reshape(-1)]
    return Tensor(name, datatype, array.shape, b"".join(parts))


@cache
def good(given: Input) -> SearchStrategy[Tensor]:
    """Valid values for a picture of 64x64 in one or two steps."""
    dim, embeds = embed_dim(), np.zeros((1, TOKENS, 1), np.float32)
    numbers: dict[str, Sequence[Any]] = {
        "seed": [[7]],
        "steps": [[1], [2]],
        "height": [[64]],
        "width": [[64]],
        "priority": [[1], [5], [9]],
        "preview_every": [[1], [2]],
        "dump_latents_every": [[0], [1]],
        "guidance_scale": [[0], [1], [3]],
        "guidance_end": [[1]],
        "strength": [[1]],
        "prompt": [[b"a red circle"], [b"a red circle", b"a blue star"]],
        "scheduler": [[name.encode()] for name in SCHEDULERS],
        "encoding": [[b"raw"], [b"base64"]],
        "request_id": [[b"mine"]],
        "deadline": [[4e9]],
        "sequence": [[1, 0, 1]],
        "prompt_embeds": [np.tile(embeds, dim)],
        "negative_prompt_embeds": [np.tile(embeds, dim)],
        "latents": [np.zeros((1, 4, SIDE, SIDE))],
        "init_moments": [np.zeros((1, 8, SIDE, SIDE))],
        "intermediate_latents": [np.zeros((1, 0, 4, SIDE, SIDE))],
        "init_image": [[file] for file in image_files.whole()[:3]],
    }
    usual: Any = [b""] if given.datatype == "BYTES" else np.zeros(np.abs(given.dims))
    values = st.sampled_from(list(numbers.get(given.name, [usual])))
    return values.map(lambda value: packed(given.name, given.datatype, value))


@cache
def extreme(given: Input) -> SearchStrategy[Tensor]:
    """The right datatype and an allowed shape, with extreme or invalid values."""
    return _extreme_bytes(given) if given.datatype == "BYTES" else _extreme_numbers(given)


@st.composite
def _extreme_bytes(draw: DrawFn, given: Input) -> Tensor:
    items = draw(FILES if given.name == "init_image" else TEXTS)
    return packed(given.name, "BYTES", items if given.dims == (-1,) else items[:1] or [b""])


@st.composite
def _extreme_numbers(draw: DrawFn, given: Input) -> Tensor:
    sizes = draw(COUNTS)[: len(given.dims)]
    sizes = tuple(n if d < 0 else d for n, d in zip(sizes, given.dims, strict=True))
    if given.name.endswith(("embeds", "latents", "moments")) and draw(st.booleans()):
        sizes = {3: (1, TOKENS, embed_dim()), 4: (1, 4, SIDE, SIDE)}.get(len(sizes), sizes)
    array = np.zeros(sizes, triton_to_np_dtype(given.datatype))
    usual, other, place = draw(_values(given.datatype))
    array[...] = usual
    if array.size:
        array.flat[place % array.size] = other
    return packed(given.name, given.datatype, array)


@cache
def inconsistent(given: Input) -> SearchStrategy[Tensor]:
    """Datatype, shape and bytes match neither each other nor the model."""
    own = tuple(abs(d) for d in given.dims)
    datatypes = st.sampled_from([*[given.datatype] * 12, *DATATYPES])
    names = st.sampled_from([given.name] * 8 + ["", "unknown", given.name * 50])
    shapes = st.one_of(st.just(own), SHAPES)
    return st.builds(Tensor, names, datatypes, shapes, BYTES if given.datatype == "BYTES" else RAW)


@cache
def wrong(given: Input) -> SearchStrategy[Tensor]:
    return st.one_of(extreme(given), inconsistent(given))


def _fits(shape: Sequence[int]) -> bool:
    return math.prod(abs(size) for size in shape) <= LARGEST


def _item(item: bytes, length_error: int) -> bytes:
    """Returns an item of a BYTES tensor whose length prefix is wrong by `length_error`."""
    return struct.pack("<I", (len(item) + length_error) % 2**32) + item


COUNTS = st.tuples(*[st.sampled_from([1, 1, 0, 2, 3, 17])] * 5)
TEXTS = st.lists(st.one_of(st.sampled_from(WORDS), st.binary(max_size=50)), max_size=3)
FILES = st.lists(image_files.hostile(), min_size=1, max_size=2)
SIZES = st.sampled_from([0, 1, 1, 2, 3, 16, 17, 1000, 2**20, 2**31, LARGEST, -1, -2])
SHAPES = st.lists(SIZES, max_size=6).map(tuple).filter(_fits)
LENGTH_ERRORS = st.sampled_from([0, 0, 0, 1, -1, 1000, 2**31, -5])
ENDS = st.sampled_from([b"", b"", b"\0", b"\1\0\0"])
ITEMS = st.lists(st.builds(_item, st.binary(max_size=20), LENGTH_ERRORS), max_size=3).map(b"".join)
BYTES = st.builds(bytes.__add__, ITEMS, ENDS)
RAW = st.one_of(st.binary(max_size=64), st.integers(0, 70_000).map(bytes))


@cache
def _values(datatype: str) -> SearchStrategy[tuple[Any, Any, int]]:
    """The value that fills a tensor, a different value, and the position of that one."""
    value = _value(np.dtype(triton_to_np_dtype(datatype)))
    return st.tuples(value, value, st.integers(0, 10_000))


def _value(dtype: Any) -> SearchStrategy[Any]:
    if dtype.kind == "f":
        return st.one_of(st.sampled_from(FLOATS), st.floats(width=32))
    if dtype.kind == "b":
        return st.booleans()
    limits = np.iinfo(dtype)
    fitting = [number for number in EXTREMES if limits.min <= number <= limits.max]
    return st.one_of(st.sampled_from(fitting), st.integers(int(limits.min), int(limits.max)))

"""A row on its way through the operators, and as a record in the end."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from ray_stages.errors import InvalidRequest, RelayError

Row = dict[str, Any]
OK, ERROR = "ok", "error"
MAX_KEY_BYTES = 200

RECORD = pa.schema(
    [
        ("key", pa.string()),
        ("prompt", pa.string()),
        ("original_prompt", pa.string()),  # before a model wrote it out
        ("negative_prompt", pa.string()),
        ("seed", pa.int64()),
        ("steps", pa.int32()),
        ("guidance_scale", pa.float32()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("scheduler", pa.string()),
        ("model", pa.string()),
        ("status", pa.string()),
        ("kind", pa.string()),  # of the error
        ("error", pa.string()),
        ("enhance_ms", pa.float32()),  # a row's share of its operator's time
        ("encode_ms", pa.float32()),
        ("denoise_ms", pa.float32()),
        ("decode_ms", pa.float32()),
        ("file", pa.string()),  # of the picture, beside the records
        ("png", pa.binary()),
    ]
)
# What one operator hands to the next: float32, of a shape that the parameters tell.
CARGO = pa.schema(
    [
        ("system", pa.string()),
        ("embeds", pa.binary()),
        ("negative_embeds", pa.binary()),
        ("latents", pa.binary()),
    ]
)
TIMES = ("enhance_ms", "encode_ms", "denoise_ms", "decode_ms")
# What is left of a row once it is written.
RECEIPT = pa.schema(
    [RECORD.field(name) for name in ("key", "status", "kind", *TIMES)] + [("part", pa.string())]
)
TRAVELLING = pa.schema([*RECORD, *CARGO])


def table(rows: Sequence[Row], schema: pa.Schema = TRAVELLING) -> pa.Table:
    """What a row does not have is null."""
    return pa.Table.from_pylist(list(rows), schema=schema)


def fail(row: Row, error: Exception) -> None:
    """The row goes on as its error; of an error that is not ours only the kind is told."""
    known = isinstance(error, RelayError)
    kind = f"invalid {error.field}" if isinstance(error, InvalidRequest) else type(error).__name__
    text = str(error) if known else f"{type(error).__name__} in an operator"
    row.update(dict.fromkeys(CARGO.names), status=ERROR, kind=kind, error=text)


def seed_of(base: int, key: str) -> int:
    """32 bits, as other tools have them; the same wherever the row is and however often it runs."""
    digest = hashlib.blake2b(f"{base}\0{key}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big")


def key_of(columns: Sequence[str], row: Mapping[str, Any]) -> str:
    values = [row.get(column) for column in columns]
    key = "-".join("" if value is None else str(value).strip() for value in values)
    if not key.strip("-"):
        raise InvalidRequest("key", "nothing", f"a value in {', '.join(columns)}")
    if len(key.encode(errors="replace")) > MAX_KEY_BYTES:
        raise InvalidRequest("key", f"{len(key)} characters", f"at most {MAX_KEY_BYTES} bytes")
    return key


def file_name(key: str) -> str:
    """What no file name may hold is written as in a URL; two keys never get one name."""
    safe = re.sub(r'^\.|[%/\\<>:"|?*\x00-\x1f\x7f]', lambda m: f"%{ord(m[0]):02X}", key)
    return f"{safe}.png"

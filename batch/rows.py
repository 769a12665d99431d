"""Rows: what travels between the operators, and what is recorded in the end."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from ray_stages.errors import InvalidRequest, RelayError

Row = dict[str, Any]
OK, ERROR = "ok", "error"
MAX_KEY_BYTES = 200

RECORD_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("prompt", pa.string()),
        ("original_prompt", pa.string()),  # before a language model wrote it out
        ("negative_prompt", pa.string()),
        ("seed", pa.int64()),
        ("steps", pa.int32()),
        ("guidance_scale", pa.float32()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("scheduler", pa.string()),
        ("model", pa.string()),
        ("made_of", pa.string()),  # a digest of all that decides the picture, see content_digest
        ("status", pa.string()),
        ("kind", pa.string()),  # of the error
        ("error", pa.string()),
        ("enhance_ms", pa.float32()),  # a row's share of its operator's time
        ("encode_ms", pa.float32()),
        ("denoise_ms", pa.float32()),
        ("decode_ms", pa.float32()),
        ("file", pa.string()),  # of the picture, relative to the output folder
        ("png", pa.binary()),
    ]
)
# What one operator hands to the next. Tensors are float32; the row's parameters give their shape.
INTERMEDIATE_SCHEMA = pa.schema(
    [
        ("system", pa.string()),
        ("embeds", pa.binary()),
        ("negative_embeds", pa.binary()),
        ("latents", pa.binary()),
    ]
)
TIME_COLUMNS = ("enhance_ms", "encode_ms", "denoise_ms", "decode_ms")
# What the driver gets of a row once it is written. part: the name of its Parquet file.
OUTCOME_SCHEMA = pa.schema(
    [RECORD_SCHEMA.field(name) for name in ("key", "status", "kind", *TIME_COLUMNS)]
    + [("part", pa.string())]
)
ROW_SCHEMA = pa.schema([*RECORD_SCHEMA, *INTERMEDIATE_SCHEMA])


def to_table(rows: Sequence[Row], schema: pa.Schema = ROW_SCHEMA) -> pa.Table:
    """Returns the rows as an Arrow table. A column that a row lacks is null."""
    return pa.Table.from_pylist(list(rows), schema=schema)


def mark_failed(row: Row, error: Exception) -> None:
    """Records an error in its row, which then passes all later operators unchanged.

    Only our own errors are told in full: another one's message may quote a prompt.
    """
    is_ours = isinstance(error, RelayError)
    kind = f"invalid {error.field}" if isinstance(error, InvalidRequest) else type(error).__name__
    text = str(error) if is_ours else f"{type(error).__name__} in an operator"
    row.update(dict.fromkeys(INTERMEDIATE_SCHEMA.names), status=ERROR, kind=kind, error=text)


def row_seed(base_seed: int, key: str) -> int:
    """Returns a seed of 32 bits that depends on nothing but the run's seed and the row's key."""
    digest = hashlib.blake2b(f"{base_seed}\0{key}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big")


def content_digest(row: Row) -> str:
    """Returns 32 hex digits of all that a prepared row has but its key: its prompts and parameters.

    A row in error has its error in it, so a row that was corrected has another digest.
    """
    content = {name: value for name, value in row.items() if name != "key"}
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def version(key: str, made_of: str | None) -> str:
    """Returns one text for a row's key and its content. A record without `made_of` fits no row."""
    return f"{key}\0{made_of or ''}"


def row_key(columns: Sequence[str], row: Mapping[str, Any]) -> str:
    """Joins the values of `columns` with hyphens.

    Raises InvalidRequest where all values are missing or the key has over MAX_KEY_BYTES.
    """
    values = [row.get(column) for column in columns]
    key = "-".join("" if value is None else str(value).strip() for value in values)
    if not key.strip("-"):
        raise InvalidRequest("key", "nothing", f"a value in {', '.join(columns)}")
    if len(key.encode(errors="replace")) > MAX_KEY_BYTES:
        raise InvalidRequest("key", f"{len(key)} characters", f"at most {MAX_KEY_BYTES} bytes")
    return key


def picture_file_name(key: str) -> str:
    """Returns a safe file name. Characters are escaped as in a URL, so two keys never share one."""
    safe = re.sub(r'^\.|[%/\\<>:"|?*\x00-\x1f\x7f]', lambda m: f"%{ord(m[0]):02X}", key)
    return f"{safe}.png"

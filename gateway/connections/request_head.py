"""What RFC 9112 wants refused, and the parser (llhttp) lets pass.

It refuses itself: bare line feeds, folded lines, spaces before a colon, more than one length, a
length beside chunks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus

HEAD_BYTES = 65_536  # also of trailers
TARGET = re.compile(rb"/[\x21-\x7e]*")

Header = tuple[bytes, bytes]


class BadRequest(Exception):
    """Answered with a status, without the application; the connection ends."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def head_too_long() -> BadRequest:
    reason = f"the head is over {HEAD_BYTES:,} bytes"
    return BadRequest(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, reason)


def header_size(name: bytes, value: bytes) -> int:
    return len(name) + len(value) + len(b": \r\n")


def check_head(version: str, target: bytes, headers: Sequence[Header]) -> None:
    """Raises BadRequest. Names of headers are in lower case."""
    if version not in ("1.0", "1.1"):
        raise BadRequest(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, f"HTTP/{version}")
    if len(target) + sum(header_size(*header) for header in headers) > HEAD_BYTES:
        raise head_too_long()
    if not TARGET.fullmatch(target):
        raise BadRequest(HTTPStatus.BAD_REQUEST, "the target is no path")
    hosts = _values(headers, b"host")
    if len(hosts) > 1 or (not hosts and version == "1.1"):
        raise BadRequest(HTTPStatus.BAD_REQUEST, f"{len(hosts)} Host headers")
    codings = _values(headers, b"transfer-encoding")
    if codings and (version == "1.0" or [one.lower() for one in codings] != [b"chunked"]):
        raise BadRequest(HTTPStatus.NOT_IMPLEMENTED, "a Transfer-Encoding other than chunked")


def _values(headers: Sequence[Header], wanted: bytes) -> list[bytes]:
    return [value for name, value in headers if name == wanted]

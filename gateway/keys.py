"""API keys. The gateway has only their hashes, from a file or the environment.

A line is a hash, and a name for the log: `<sha-256 in hex> phone`.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from pathlib import Path

PREFIX = "lr-"
LINE = re.compile(r"(?P<hash>[0-9a-f]{64})(\s+(?P<name>[\w.-]{1,64}))?")


def digest(key: str) -> str:
    """The SHA-256 of a key. Keys are long and random, so that no slower hash is needed."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def new_key() -> tuple[str, str]:
    """A new key, and its line for the file."""
    key = PREFIX + secrets.token_urlsafe(32)
    return key, f"{digest(key)} key-{secrets.token_hex(3)}"


class ApiKeys:
    """The keys of the environment and of a file, which is read again whenever it changes."""

    def __init__(self, lines: Iterable[str] = (), file: Path | None = None) -> None:
        """Raises ValueError for a line, and OSError for a file, that cannot be read."""
        self._from_environment = parse_lines(lines)
        self._file = file
        self._loaded = (0.0, self._from_environment)
        self.names_by_hash()

    def names_by_hash(self) -> dict[str, str]:
        if self._file is not None:
            changed = self._file.stat().st_mtime
            if changed != self._loaded[0]:
                lines = self._file.read_text().splitlines()
                self._loaded = (changed, {**self._from_environment, **parse_lines(lines)})
        return self._loaded[1]

    def name_of(self, key: str) -> str | None:
        """The name of a key, or None for an unknown one, in the same time for every key."""
        offered, found = digest(key), None
        for known, name in self.names_by_hash().items():
            if hmac.compare_digest(known, offered):
                found = name
        return found


def parse_lines(lines: Iterable[str]) -> dict[str, str]:
    """Names by hash. Raises ValueError with the number, but not the text, of a wrong line."""
    names = {}
    for number, line in enumerate(lines, 1):
        text = line.split("#")[0].strip()
        if not text:
            continue
        if not (found := LINE.fullmatch(text)):
            raise ValueError(f"API keys, line {number}: not a SHA-256 in hex and a name")
        names[found["hash"]] = found["name"] or found["hash"][:8]
    return names

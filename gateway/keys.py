"""API keys: only their hashes are kept, in a file or the environment.

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
    """Keys are random, and too long to be guessed: nothing slower is needed."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def new_key() -> tuple[str, str]:
    """A key, and its line for the file."""
    key = PREFIX + secrets.token_urlsafe(32)
    return key, f"{digest(key)} key-{secrets.token_hex(3)}"


class Keys:
    """A key that is taken out of the file opens nothing from then on."""

    def __init__(self, lines: Iterable[str] = (), file: Path | None = None) -> None:
        self._given = parse(lines)
        self._file = file
        self._read = (0.0, self._given)
        self.known()  # a file that is no good is told at the start

    def known(self) -> dict[str, str]:
        """Names by hash."""
        if self._file is not None:
            changed = self._file.stat().st_mtime
            if changed != self._read[0]:
                lines = self._file.read_text().splitlines()
                self._read = (changed, {**self._given, **parse(lines)})
        return self._read[1]

    def name_of(self, key: str) -> str | None:
        """None for a key that is not ours; takes as long for each."""
        offered, found = digest(key), None
        for known, name in self.known().items():
            if hmac.compare_digest(known, offered):
                found = name
        return found


def parse(lines: Iterable[str]) -> dict[str, str]:
    names = {}
    for number, line in enumerate(lines, 1):
        text = line.split("#")[0].strip()
        if not text:
            continue
        if not (found := LINE.fullmatch(text)):
            raise ValueError(f"API keys, line {number}: not a SHA-256 in hex and a name")
        names[found["hash"]] = found["name"] or found["hash"][:8]
    return names

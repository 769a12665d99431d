"""API keys. The gateway has only their hashes, from a file or the environment.

A line is a hash, and a name for the log: `<sha-256 in hex> phone`.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import secrets
from collections.abc import Iterable
from pathlib import Path

log = logging.getLogger("gateway.keys")
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
        self._version: tuple[int, int, int] | None = None
        self._names = self._from_environment
        self._problem = ""  # why the file cannot be read now
        self._load()

    def names_by_hash(self) -> dict[str, str]:
        """Those of the last readable version of the file."""
        try:
            self._load()
        except (OSError, ValueError) as error:
            problem = f"API_KEYS_FILE: {error}; the keys of its last readable version hold"
            if problem != self._problem:
                log.error("%s", problem)
            self._problem = problem
        return self._names

    @property
    def is_outdated(self) -> bool:
        """Whether the file cannot be read now. The log says why."""
        self.names_by_hash()
        return bool(self._problem)

    def _load(self) -> None:
        if self._file is None:
            return
        status = self._file.stat()
        version = (status.st_mtime_ns, status.st_size, status.st_ino)
        if version != self._version or self._problem:
            lines = self._file.read_text().splitlines()
            self._names = {**self._from_environment, **parse_lines(lines)}
            self._version, self._problem = version, ""

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

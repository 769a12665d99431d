"""What can go wrong, besides ConnectionError and TimeoutError."""

from __future__ import annotations

import re

# Whose error it is, which Triton says first; the caller knows.
PREFIXES = re.compile(r"^(in ensemble '[^']*', |\[request id: [^\]]*\] )+")
# What Triton says, with codes of its own, while it is being restarted.
RESTARTING = re.compile(r"has no available versions|Stub process '[^']*' is not healthy")


def code_of(code: str, message: str) -> str:
    """As Triton says it, but UNAVAILABLE where the same request will do in a moment."""
    return "UNAVAILABLE" if RESTARTING.search(message) else code


class RequestError(Exception):
    """Refused, or failed: the reason in the server's words, and its `code` as gRPC names it.

    UNKNOWN is the code of a reason that the protocol tells without one: that of a stream over HTTP
    which fails halfway.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(PREFIXES.sub("", message))
        self.code = code_of(code, message)


class AddressError(ValueError):
    """Not an address of the protocol."""


def no_server(url: str, reason: object) -> ConnectionError:
    return ConnectionError(f"no server at {url} ({reason}); `make serve` starts one")


def is_temporary(error: BaseException) -> bool:
    """Whether the same request may well succeed in a moment."""
    return isinstance(error, ConnectionError) or getattr(error, "code", "") == "UNAVAILABLE"

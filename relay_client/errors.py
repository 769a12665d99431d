"""What can go wrong, besides ConnectionError and TimeoutError."""

from __future__ import annotations

import re

# Whose error it is, which Triton says first; the caller knows.
PREFIXES = re.compile(r"^(in ensemble '[^']*', |\[request id: [^\]]*\] )+")
# What the stages put in front where a request's parameter `error_codes` asks for it.
CODE = re.compile(r"\[([A-Z_]+)\] ")
# What Triton says, with codes of its own, while it is being restarted or has no room.
NOT_NOW = re.compile(
    r"has no available versions|Stub process '[^']*' is not healthy"
    r"|Failed to increase the shared memory pool"
)


def told(code: str, message: str) -> tuple[str, str]:
    """Code and reason, of what Triton says.

    The stage's own code where the message begins with it; UNAVAILABLE where the same request will
    do in a moment.
    """
    reason = PREFIXES.sub("", message)
    if own := CODE.match(reason):
        return own[1], reason[own.end() :]
    return ("UNAVAILABLE" if NOT_NOW.search(reason) else code), reason


class RequestError(Exception):
    """Refused, or failed: the reason in the server's words, and its `code` as gRPC names it.

    UNKNOWN is the code of a reason that Triton itself tells without one, in a stream.
    """

    def __init__(self, code: str, message: str) -> None:
        self.code, reason = told(code, message)
        super().__init__(reason)


class AddressError(ValueError):
    """Not an address of the protocol."""


def no_server(url: str, reason: object) -> ConnectionError:
    return ConnectionError(f"no server at {url} ({reason}); `make serve` starts one")


def is_temporary(error: BaseException) -> bool:
    """Whether the same request may well succeed in a moment."""
    return isinstance(error, ConnectionError) or getattr(error, "code", "") == "UNAVAILABLE"

"""The errors of the client, beside ConnectionError and TimeoutError."""

from __future__ import annotations

import re

# Triton's prefixes that name the ensemble and the request, which the caller knows.
PREFIXES = re.compile(r"^(in ensemble '[^']*', |\[request id: [^\]]*\] )+")
# The code that our stages put in front, where a request has the parameter `error_codes`.
STAGE_CODE = re.compile(r"\[([A-Z_]+)\] ")
# Triton's messages, with other codes, while it restarts or its shared memory is full.
TEMPORARY = re.compile(
    r"has no available versions|Stub process '[^']*' is not healthy"
    r"|Failed to increase the shared memory pool"
)


def parse_error(code: str, message: str) -> tuple[str, str]:
    """Returns code and reason of an error that Triton reports.

    The code is the stage's own where the message begins with one, and UNAVAILABLE where the same
    request may succeed in a moment.
    """
    reason = PREFIXES.sub("", message)
    if own := STAGE_CODE.match(reason):
        return own[1], reason[own.end() :]
    return ("UNAVAILABLE" if TEMPORARY.search(reason) else code), reason


class RequestError(Exception):
    """A request that the server refused, or that failed there.

    The message is the server's reason. code: as gRPC names it; UNKNOWN where Triton itself reports
    an error in a stream, which has no code.
    """

    def __init__(self, code: str, message: str) -> None:
        self.code, reason = parse_error(code, message)
        super().__init__(reason)


class AddressError(ValueError):
    """An address in a form that the protocol does not take."""


def no_server(url: str, reason: object) -> ConnectionError:
    """Returns the error for a server that cannot be reached."""
    return ConnectionError(f"no server at {url} ({reason}); `make serve` starts one")


def is_temporary(error: BaseException) -> bool:
    """Tells whether the same request may succeed in a moment."""
    return isinstance(error, ConnectionError) or getattr(error, "code", "") == "UNAVAILABLE"

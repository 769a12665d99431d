"""A time limit for the head of a request, against clients that hold connections open."""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 15.0


class RequestHeadTimeoutProtocol(H11Protocol):
    """uvicorn's HTTP protocol, which limits the size of a head but not the time that it takes."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._check(None)

    def _check(self, before: object) -> None:
        """Closes a connection that has waited for the same request since the last check."""
        if self.transport.is_closing():
            return
        waiting = self.conn.their_state is h11.IDLE
        after = waiting, self.cycle
        if waiting and after == before:
            self.transport.close()
        else:
            self.loop.call_later(HEAD_SECONDS, self._check, after)

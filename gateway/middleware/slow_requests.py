"""Connections whose request never begins, or never gets beyond its head."""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 15.0


class PunctualProtocol(H11Protocol):
    """uvicorn's own keeps to h11's limit of a head's length, but would wait for it for ever."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._look(None)

    def _look(self, before: object) -> None:
        """Closes what has waited for the same request since the last look."""
        if self.transport.is_closing():
            return
        waiting = self.conn.their_state is h11.IDLE
        after = waiting, self.cycle
        if waiting and after == before:
            self.transport.close()
        else:
            self.loop.call_later(HEAD_SECONDS, self._look, after)

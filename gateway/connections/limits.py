"""Limits on the number of connections: in all, and of one client."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.addresses import client_network

MAX_REFUSED = 256  # refused connections that are open until they have their response


@dataclass
class ConnectionLimits:
    """Counts the connections of one server.

    total: connections at once. per_address: of them, of one `client_network`; those of a proxy
    that `is_trusted` are exempt. write_seconds: how long what was sent may stay unread.
    """

    total: int
    per_address: int
    write_seconds: float
    is_trusted: Callable[[str], bool]
    open: int = 0
    refused: int = 0
    by_address: Counter[str] = field(default_factory=Counter)

    def admit(self, host: str) -> ConnectionSlot:
        """A slot, to be released once. A refused connection takes none of the others' slots."""
        address = None if self.is_trusted(host) else client_network(host)
        if self.open >= self.total:
            return self._refuse(f"{self.total} connections are open already")
        if address is not None and self.by_address[address] >= self.per_address:
            most = f"{self.per_address} connections of {address} are open already"
            return self._refuse(f"{most}; see CONNECTIONS_PER_ADDRESS")
        self.open += 1
        if address is not None:
            self.by_address[address] += 1
        return ConnectionSlot(self, address)

    def _refuse(self, reason: str) -> ConnectionSlot:
        self.refused += 1
        return ConnectionSlot(self, None, reason, is_dropped=self.refused > MAX_REFUSED)


@dataclass
class ConnectionSlot:
    """refusal: why the connection is refused, or empty. is_dropped: without a response."""

    limits: ConnectionLimits
    address: str | None
    refusal: str = ""
    is_dropped: bool = False

    def release(self) -> None:
        if self.refusal:
            self.limits.refused -= 1
            return
        self.limits.open -= 1
        if self.address is not None:
            self.limits.by_address[self.address] -= 1
            if not self.limits.by_address[self.address]:
                del self.limits.by_address[self.address]

"""Which loads a run puts on which peers, and in what order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

SERVERS = ("serve", "serve_batch", "relay")
FAST = {"one_process": "one_process_fast", "serve_batch": "serve_batch_fast"}
PEERS = ("one_process", "one_process_fast", "serve", "serve_batch", "serve_batch_fast", "relay")
SHARES = (50, 80, 110)
SWEEP = (1, 2, 4, 8, 16, 32, 64)
STREAMED = " with previews"


@dataclass(frozen=True)
class Load:
    """So many clients in a closed loop, or a Poisson process at a percentage of the capacity.

    mixed: of steps, else all pictures have the same number.
    """

    name: str
    seconds: float
    clients: int = 0
    percent: int = 0
    mixed: bool = False
    streamed: bool = False


@dataclass(frozen=True)
class Visit:
    """A peer is started, asked all of these, and ended, so that no other works meanwhile."""

    round: int
    peer: str
    loads: tuple[Load, ...]


@dataclass(frozen=True)
class Plan:
    """seconds: how long a Poisson load is; the others are shorter in proportion; batching: the peer
    that Poisson loads are a percentage of.
    """

    steps: int = 20
    mix: tuple[int, ...] = (10, 20, 30)
    rounds: int = 2
    seconds: float = 32.0
    sweep: tuple[int, ...] = SWEEP
    peers: tuple[str, ...] = PEERS
    batching: str = "serve_batch"

    def with_one_runtime(self) -> Plan:
        """Request-level batching beside ours, both by our runtime: what the engine is good for."""
        batching = FAST["serve_batch"]
        return replace(self, peers=(batching, "relay"), batching=batching, sweep=())

    @classmethod
    def quick(cls) -> Plan:
        """Whether all works, in under three minutes; its figures mean nothing."""
        return cls(steps=4, mix=(2, 4, 6), rounds=1, seconds=3.0, sweep=(1, 16))

    @property
    def capacity(self) -> Load:
        """What request-level batching can do at most: enough clients for two full batches."""
        return Load("capacity", self.seconds * 2 / 3, clients=32, mixed=True)

    def visits(self) -> Iterator[Visit]:
        """The capacity first, for all Poisson loads follow from it; then round by round."""
        yield Visit(0, self.batching, (self.capacity,))
        for number in range(self.rounds):
            for peer in self.peers:
                yield Visit(number, peer, tuple(self._loads(peer, number)))

    def _loads(self, peer: str, number: int) -> Iterator[Load]:
        """One process has no front door, so there is no load on it but one client."""
        yield self.closed(1)
        if peer not in (*SERVERS, FAST["serve_batch"]):
            return
        yield self.closed(16)
        if peer not in (*SERVERS, self.batching):
            yield self._poisson(80)
            return
        for percent in SHARES:
            yield self._poisson(percent)
        if peer == "relay":
            for clients in (1, 16):
                load = self.closed(clients)
                yield replace(load, name=load.name + STREAMED, streamed=True)
        if number == 0:
            for clients in sorted(set(self.sweep) - {1, 16}):
                yield replace(self.closed(clients), seconds=self.seconds / 6)

    def _poisson(self, percent: int) -> Load:
        return Load(of_percent(percent), self.seconds, percent=percent, mixed=True)

    def closed(self, clients: int) -> Load:
        return Load(of_clients(clients), self.seconds / 3, clients=clients)


def of_clients(number: int) -> str:
    return f"{number} client{'s' if number > 1 else ''}"


def of_percent(percent: int) -> str:
    return f"Poisson {percent} %"

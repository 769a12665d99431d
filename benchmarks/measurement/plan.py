"""The plan of a run: which loads on which peers, and in what order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

SERVERS = ("serve", "serve_batch", "relay")
OUR_RUNTIME = {"one_process": "one_process_fast", "serve_batch": "serve_batch_fast"}
PEERS = ("one_process", "one_process_fast", "serve", "serve_batch", "serve_batch_fast", "relay")
POISSON_PERCENTS = (50, 80, 110)
CLIENT_COUNTS = (1, 2, 4, 8, 16, 32, 64)
WITH_PREVIEWS = " with previews"


@dataclass(frozen=True)
class Load:
    """A closed loop of `clients`, or Poisson arrivals at `percent` of the capacity.

    mixed: pictures have different numbers of steps; otherwise all have the same.
    streamed: previews are requested too.
    """

    name: str
    seconds: float
    clients: int = 0
    percent: int = 0
    mixed: bool = False
    streamed: bool = False


@dataclass(frozen=True)
class PeerSession:
    """One start of one peer with its loads. Only one peer runs at a time."""

    round: int
    peer: str
    loads: tuple[Load, ...]


@dataclass(frozen=True)
class Plan:
    """What a run measures.

    steps: of each picture; mix: the numbers of steps in mixed loads.
    seconds: the length of a Poisson load; other loads are shorter in proportion.
    sweep: numbers of clients; batching: the peer whose capacity sets the rate of Poisson loads.
    """

    steps: int = 20
    mix: tuple[int, ...] = (10, 20, 30)
    rounds: int = 2
    seconds: float = 32.0
    sweep: tuple[int, ...] = CLIENT_COUNTS
    peers: tuple[str, ...] = PEERS
    batching: str = "serve_batch"

    def with_one_runtime(self) -> Plan:
        """Returns a plan with our stack and request-level batching, both with our runtime.

        The difference is then what step-level batching gains.
        """
        batching = OUR_RUNTIME["serve_batch"]
        return replace(self, peers=(batching, "relay"), batching=batching, sweep=())

    @classmethod
    def quick(cls) -> Plan:
        """Returns a plan that tries everything in under three minutes. Its figures mean nothing."""
        return cls(steps=4, mix=(2, 4, 6), rounds=1, seconds=3.0, sweep=(1, 16))

    @property
    def capacity(self) -> Load:
        """The load that finds the most that request-level batching can do: two full batches."""
        return Load("capacity", self.seconds * 2 / 3, clients=32, mixed=True)

    def sessions(self) -> Iterator[PeerSession]:
        """Yields the capacity first, since Poisson rates depend on it; then round after round."""
        yield PeerSession(0, self.batching, (self.capacity,))
        for number in range(self.rounds):
            for peer in self.peers:
                yield PeerSession(number, peer, tuple(self._loads(peer, number)))

    def _loads(self, peer: str, number: int) -> Iterator[Load]:
        """A single process takes one request at a time, so it is only measured with one client."""
        yield self.closed_loop(1)
        if peer not in (*SERVERS, OUR_RUNTIME["serve_batch"]):
            return
        yield self.closed_loop(16)
        if peer not in (*SERVERS, self.batching):
            yield self._poisson(80)
            return
        for percent in POISSON_PERCENTS:
            yield self._poisson(percent)
        if peer == "relay":
            for clients in (1, 16):
                load = self.closed_loop(clients)
                yield replace(load, name=load.name + WITH_PREVIEWS, streamed=True)
        if number == 0:
            for clients in sorted(set(self.sweep) - {1, 16}):
                yield replace(self.closed_loop(clients), seconds=self.seconds / 6)

    def _poisson(self, percent: int) -> Load:
        return Load(poisson_label(percent), self.seconds, percent=percent, mixed=True)

    def closed_loop(self, clients: int) -> Load:
        return Load(clients_label(clients), self.seconds / 3, clients=clients)


def clients_label(number: int) -> str:
    return f"{number} client{'s' if number > 1 else ''}"


def poisson_label(percent: int) -> str:
    return f"Poisson {percent} %"

"""Who has used how much of the processors."""

from __future__ import annotations

import time
from dataclasses import dataclass

import psutil

from benchmarks.peers.peer import Peer


@dataclass(frozen=True)
class Clock:
    """Seconds: of the wall, of the processors by the peer, by us who ask it, and by everybody."""

    wall: float
    peer: float
    us: float
    machine: float

    @classmethod
    def read(cls, peer: Peer) -> Clock:
        return cls(
            wall=time.monotonic(),
            peer=peer.cpu_seconds(),
            us=0.0 if peer.in_our_process else time.process_time(),
            machine=_busy_seconds(),
        )

    def __sub__(self, before: Clock) -> Clock:
        return Clock(
            wall=self.wall - before.wall,
            peer=self.peer - before.peer,
            us=self.us - before.us,
            machine=self.machine - before.machine,
        )


def _busy_seconds() -> float:
    """Of all cores; what a hypervisor took away for others counts too."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - times.iowait - times.guest - times.guest_nice)

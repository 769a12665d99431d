"""CPU time: of a peer, of this process, and of the whole machine."""

from __future__ import annotations

import time
from dataclasses import dataclass

import psutil

from benchmarks.peers.peer import Peer


@dataclass(frozen=True)
class CpuUsage:
    """Seconds of wall time, and of CPU time that the peer, this process and the machine used.

    The difference of two is what was used between them.
    """

    wall: float
    peer: float
    this_process: float
    machine: float

    @classmethod
    def read(cls, peer: Peer) -> CpuUsage:
        return cls(
            wall=time.monotonic(),
            peer=peer.cpu_seconds(),
            this_process=0.0 if peer.in_our_process else time.process_time(),
            machine=_busy_seconds(),
        )

    def __sub__(self, before: CpuUsage) -> CpuUsage:
        return CpuUsage(
            wall=self.wall - before.wall,
            peer=self.peer - before.peer,
            this_process=self.this_process - before.this_process,
            machine=self.machine - before.machine,
        )


def _busy_seconds() -> float:
    """Returns the busy seconds of all cores, with what a hypervisor took for other machines."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - times.iowait - times.guest - times.guest_nice)

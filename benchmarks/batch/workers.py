"""CPU time and memory of Ray's workers, the descendants of this process."""

from __future__ import annotations

import contextlib
import threading

import psutil

SAMPLE_SECONDS = 5.0


def actor_cpu_seconds() -> float:
    """Returns the CPU time of all actors. Workers of tasks come and go, and are left out."""
    total = 0.0
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if is_worker(process, "ray::MapWorker"):
                used = process.cpu_times()
                total += used.user + used.system
    return total


def is_worker(process: psutil.Process, name: str = "ray::") -> bool:
    return any(name in word for word in process.cmdline()[:1])


class PeakMemory:
    """Samples the memory of all workers in a thread. peak_mb: the highest sum so far."""

    def __enter__(self) -> PeakMemory:
        self.peak_mb = 0.0
        self._ended = threading.Event()
        threading.Thread(target=self._sample, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    def _sample(self) -> None:
        while not self._ended.wait(SAMPLE_SECONDS):
            workers = psutil.Process().children(recursive=True)
            self.peak_mb = max(self.peak_mb, sum(map(worker_memory_mb, workers)))


def worker_memory_mb(process: psutil.Process) -> float:
    """Returns a worker's own memory (USS) in MB, and 0 for any other process."""
    try:
        return process.memory_full_info().uss / 1024**2 if is_worker(process) else 0.0
    except psutil.Error:
        return 0.0

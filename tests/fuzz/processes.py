"""Samples what a stack's processes hold: memory, files, shared memory, objects in Ray's store."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.support.stacks import Stack

MB = 1024**2
SHM = Path("/dev/shm")
# Ray starts and ends idle workers at any time.
IGNORED = re.compile(r"ray::IDLE")
PROCESS_NAMES = {
    r"ServeReplica:(\w+)-": r"replica \1",
    r"python_backend_stub \S*/(\w+)/1/model.py": r"stub \1",
    r"bin/tritonserver ": "tritonserver",
    r"-m gateway": "gateway",
    r"ray::ServeController": "Serve controller",
    r"ray::CancellationBroker": "cancellation actor",
    r"ray::GenerationRegistry": "generations actor",
    r"gcs/gcs_server ": "Ray GCS",
    r"raylet/raylet ": "raylet",
    r"-m ray_stages.launcher.ray_process": "Ray driver",
    r"-m ray_stages serve": "launcher",
}
# Lines of the file in which a raylet writes its state every ten seconds.
STORE = re.compile(r"pinned objects size: (\d+)")
OBJECTS = re.compile(r"num local plasma objects: (\d+)")


@dataclass(frozen=True)
class Sample:
    """at: Unix seconds. pids: by process name. values: by quantity, such as `gateway RSS MB`."""

    at: float
    pids: Mapping[str, int]
    values: Mapping[str, float]


@dataclass
class ProcessWatcher:
    stack: Stack
    samples: list[Sample] = field(default_factory=list)

    def sample(self) -> Sample:
        pids: dict[str, int] = {}
        values: dict[str, float] = {}
        for process in [psutil.Process(self.stack.process.pid), *self.stack.processes()]:
            try:
                name = process_name(" ".join(process.cmdline()))
                if name:
                    pids[name] = process.pid
                    values[f"{name} RSS MB"] = process.memory_info().rss / MB
                    values[f"{name} handles"] = process.num_fds()
            except psutil.NoSuchProcess:
                continue
        self.samples.append(Sample(time.time(), pids, {**values, **self._shared()}))
        return self.samples[-1]

    def _shared(self) -> dict[str, float]:
        names = [part for p in self.stack.processes("bin/tritonserver ") for part in p.cmdline()]
        own = [name.removeprefix("--id=") for name in names if name.startswith("--id=")]
        sizes = [file.stat().st_size for name in own for file in SHM.glob(f"{name}*")]
        return {"/dev/shm MB": sum(sizes) / MB, "/dev/shm files": len(sizes), **self._objects()}

    def _objects(self) -> dict[str, float]:
        """Returns the contents of Ray's object store, as reported by the raylet."""
        driver = self.stack.processes("-m ray_stages.launcher.ray_process")
        if not driver:
            return {}
        file = Path(driver[0].cmdline()[-1]) / "ray/session_latest/logs/debug_state.txt"
        text = file.read_text(errors="replace") if file.exists() else ""
        used, objects = STORE.search(text), OBJECTS.search(text)
        if not used or not objects:
            return {}
        return {"object store MB": int(used[1]) / MB, "objects in store": int(objects[1])}


def process_name(command: str) -> str:
    """Returns what a process is, by its command line; "" for those that may come and go."""
    if IGNORED.search(command):
        return ""
    for pattern, name in PROCESS_NAMES.items():
        if found := re.search(pattern, command):
            return found.expand(name)
    return ""


def replaced(before: Sample, after: Sample) -> list[str]:
    """Returns the names whose process has ended or was replaced."""
    return [name for name, pid in before.pids.items() if after.pids.get(name) != pid]

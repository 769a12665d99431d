"""Hostile requests to a stack of its own, through Triton's ports and through the gateway.

Ends with a table and a verdict: no process of the stack was replaced, nothing hung, no error was
ours, and memory stayed flat.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
from collections import Counter
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from tests.fuzz import flat
from tests.fuzz.notes import read
from tests.fuzz.processes import Watcher, replaced
from tests.support.paths import ROOT
from tests.support.stacks import Stack, running_stack

LOOK_SECONDS = 5.0
GATEWAYS_SHARE = 0.3
MOST_MB = 4096.0  # of one process: more is a finding, and would take the machine along
SENDERS = 3  # for each of the two
APART = 1_000_000  # their seeds
# Small pictures, caches that are full early, and nobody sent away for asking often.
SETTINGS = {
    "DEFAULT_STEPS": "1",
    "MAX_STEPS": "4",
    "MAX_SIZE": "128",
    "TEXT_ENCODER_CACHE_MB": "1",
    "CACHE_BYTES": "1000000",
    "RATE_LIMIT": "100000/second",
    "RESULTS_SECONDS": "60",
    "LOG_LEVEL": "WARNING",
}


def a_stack(folder: Path, **settings: str) -> AbstractContextManager[Stack]:
    store = f"sqlite:///{folder}/gateway.sqlite"
    return running_stack(folder / "serve.log", STORE=store, **settings)


def sender(module: str, notes: Path, *arguments: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", f"tests.fuzz.{module}", f"--notes={notes}"]
    return subprocess.Popen([*command, *map(str, arguments)], cwd=ROOT)


def senders(
    stack: Stack, folder: Path, cases: int, seed: int
) -> dict[Path, subprocess.Popen[bytes]]:
    """Several for each door, at the same time, each with cases of its own."""
    doors = {
        "triton": (1 - GATEWAYS_SHARE, ("--grpc", stack.grpc, "--http", stack.http)),
        "gateway": (GATEWAYS_SHARE, ("--url", stack.gateway)),
    }
    found = {}
    for module, (share, address) in doors.items():
        each = math.ceil(cases * share / SENDERS)
        for number in range(SENDERS):
            notes = folder / f"{module}-{number}.json"
            notes.unlink(missing_ok=True)
            own = ("--cases", each, "--seed", seed + APART * number)
            found[notes] = sender(module, notes, *address, *own)
    return found


def largest(watcher: Watcher) -> float:
    """What the largest process has in memory, in MB."""
    values = watcher.samples[-1].values
    return max((size for name, size in values.items() if name.endswith("RSS MB")), default=0.0)


def run(stack: Stack, folder: Path, cases: int, seed: int, seconds: float) -> dict[str, Any]:
    """Ends when all are sent, or after so many seconds."""
    watcher = Watcher(stack)
    before, begun, gone = watcher.look(), time.monotonic(), set[str]()
    at_work = senders(stack, folder, cases, seed)
    try:
        while any(process.poll() is None for process in at_work.values()):
            if time.monotonic() > begun + seconds or largest(watcher) > MOST_MB:
                break
            time.sleep(LOOK_SECONDS)
            gone |= set(replaced(before, watcher.look()))
    finally:
        for process in at_work.values():
            process.terminate()
    codes: Counter[str] = Counter()
    wrong: dict[str, str] = {}
    for notes in at_work:
        found = read(notes)
        codes += Counter(found["codes"])
        wrong |= found["wrong"]
    # SIGTERM is ours; whatever else ended one is not.
    failed = [notes.stem for notes, process in at_work.items() if process.wait() not in (0, -15)]
    return {
        "cases": codes.total(),
        "seconds": round(time.monotonic() - begun),
        "codes": dict(sorted(codes.items())),
        "wrong": wrong,
        "replaced": sorted(gone),
        "failed": failed,
        "lines": flat.lines(watcher.samples),
    }


def told(found: dict[str, Any]) -> bool:
    """Prints it all; whether it is well."""
    lines = found.pop("lines")
    print(flat.table(lines))
    print(json.dumps(found, indent=1))
    rising = [line.what for line in lines if not line.is_flat]
    well = not (found["wrong"] or found["replaced"] or found["failed"] or rising)
    print(f"{found['cases']} cases in {found['seconds']} s: {'well' if well else 'NOT WELL'}")
    return well


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=5000)
    parser.add_argument("--minutes", type=float, default=60, help="at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=ROOT / ".run" / "fuzz")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    with a_stack(options.folder, **SETTINGS) as stack:
        found = run(stack, options.folder, options.cases, options.seed, 60 * options.minutes)
    sys.exit(0 if told(found) else 1)


if __name__ == "__main__":
    main()

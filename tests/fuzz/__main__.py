"""Sends hostile requests to a stack of its own, to Triton's ports and to the gateway.

At the end it prints a table and a verdict. The run is good if no process of the stack was replaced,
no request hung, no error was a bug of this project, and memory stayed flat.
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

from tests.fuzz import trends
from tests.fuzz.findings import read
from tests.fuzz.processes import ProcessWatcher, replaced
from tests.support.paths import ROOT
from tests.support.stacks import Stack, running_stack

SAMPLE_SECONDS = 5.0
GATEWAY_SHARE = 0.3  # of the cases
MAX_PROCESS_MB = 4096.0  # a larger process is a finding, and could fill the machine's memory
SENDERS = 3  # for each of the two targets
SEED_DISTANCE = 1_000_000  # between two senders
# Small pictures, caches that fill early, and no rate limit in the way.
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


def fuzzed_stack(folder: Path, **settings: str) -> AbstractContextManager[Stack]:
    store = f"sqlite:///{folder}/gateway.sqlite"
    return running_stack(folder / "serve.log", STORE=store, **settings)


def sender(module: str, findings: Path, *arguments: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", f"tests.fuzz.{module}", f"--findings={findings}"]
    return subprocess.Popen([*command, *map(str, arguments)], cwd=ROOT)


def senders(
    stack: Stack, folder: Path, cases: int, seed: int
) -> dict[Path, subprocess.Popen[bytes]]:
    """Starts SENDERS processes for each target; returns them by the file of their findings."""
    targets = {
        "triton": (1 - GATEWAY_SHARE, ("--grpc", stack.grpc, "--http", stack.http)),
        "gateway": (GATEWAY_SHARE, ("--url", stack.gateway)),
    }
    started = {}
    for module, (share, address) in targets.items():
        each = math.ceil(cases * share / SENDERS)
        for number in range(SENDERS):
            findings = folder / f"{module}-{number}.json"
            findings.unlink(missing_ok=True)
            cases_and_seed = ("--cases", each, "--seed", seed + SEED_DISTANCE * number)
            started[findings] = sender(module, findings, *address, *cases_and_seed)
    return started


def largest(watcher: ProcessWatcher) -> float:
    """Returns the RSS of the largest process in MB."""
    values = watcher.samples[-1].values
    return max((size for name, size in values.items() if name.endswith("RSS MB")), default=0.0)


def run(stack: Stack, folder: Path, cases: int, seed: int, seconds: float) -> dict[str, Any]:
    """Sends all cases, for at most so many seconds; returns counts and findings."""
    watcher = ProcessWatcher(stack)
    before, begun, gone = watcher.sample(), time.monotonic(), set[str]()
    processes = senders(stack, folder, cases, seed)
    try:
        while any(process.poll() is None for process in processes.values()):
            if time.monotonic() > begun + seconds or largest(watcher) > MAX_PROCESS_MB:
                break
            time.sleep(SAMPLE_SECONDS)
            gone |= set(replaced(before, watcher.sample()))
    finally:
        for process in processes.values():
            process.terminate()
    codes: Counter[str] = Counter()
    wrong: dict[str, str] = {}
    for findings in processes:
        found = read(findings)
        codes += Counter(found["codes"])
        wrong |= found["wrong"]
    # A sender may end by our SIGTERM, but by no other signal or error.
    failed = [
        findings.stem for findings, process in processes.items() if process.wait() not in (0, -15)
    ]
    return {
        "cases": codes.total(),
        "seconds": round(time.monotonic() - begun),
        "codes": dict(sorted(codes.items())),
        "wrong": wrong,
        "replaced": sorted(gone),
        "failed": failed,
        "trends": trends.fit_trends(watcher.samples),
    }


def print_report(found: dict[str, Any]) -> bool:
    """Prints the results of `run`; returns whether they are good."""
    fitted = found.pop("trends")
    print(trends.table(fitted))
    print(json.dumps(found, indent=1))
    rising = [trend.quantity for trend in fitted if not trend.is_flat]
    good = not (found["wrong"] or found["replaced"] or found["failed"] or rising)
    print(f"{found['cases']} cases in {found['seconds']} s: {'well' if good else 'NOT WELL'}")
    return good


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=5000)
    parser.add_argument("--minutes", type=float, default=60, help="at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=ROOT / ".run" / "fuzz")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    with fuzzed_stack(options.folder, **SETTINGS) as stack:
        found = run(stack, options.folder, options.cases, options.seed, 60 * options.minutes)
    sys.exit(0 if print_report(found) else 1)


if __name__ == "__main__":
    main()

"""Loads a stack to 80 % of its capacity for half an hour, and checks that its memory stays flat.

First it measures the capacity, with 16 clients for a minute. Then requests arrive at 80 % of that
rate, whether earlier ones are answered or not: three of four over gRPC, one through the gateway.
Every picture is compared with the one that its seed gave at the start.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from relay_client import Client
from tests.fuzz import trends
from tests.fuzz.__main__ import fuzzed_stack
from tests.fuzz.processes import ProcessWatcher, replaced
from tests.support.paths import ROOT
from tests.support.pictures import MAX_DIFFERING_SHARE, share_of_differing_pixels
from tests.support.stacks import Stack

SHARE = 0.8
CLIENTS = 16  # while the capacity is measured
SAMPLE_SECONDS = 5.0
REPORT_SECONDS = 60.0
PROMPTS = [f"a {colour} circle on a white background" for colour in ("red", "blue", "green")]
PICTURES = [(prompt, seed) for prompt in PROMPTS for seed in range(4)]
# Caches are full at once, so that a filling cache does not look like a leak.
SETTINGS = {"TEXT_ENCODER_CACHE_MB": "1", "CACHE_BYTES": "0", "RATE_LIMIT": "100000/second"}
SETTINGS |= {"CONCURRENT_REQUESTS": "256"}  # all requests come from one address here
SETTINGS |= {"LOG_LEVEL": "WARNING", "DEFAULT_STEPS": "10"}


@dataclass
class SoakLoad:
    """Draws pictures and counts the outcomes; slowest: the longest request, in seconds."""

    stack: Stack
    expected: dict[tuple[str, int], bytes] = field(default_factory=dict)
    outcomes: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0

    def __post_init__(self) -> None:
        self.client = Client(self.stack.grpc, timeout=120, retries=0)
        self._lock = threading.Lock()

    def draw_expected(self) -> None:
        for picture in PICTURES:
            self.expected[picture] = self._over_grpc(*picture)

    def draw(self, number: int) -> None:
        prompt, seed = PICTURES[number % len(PICTURES)]
        send = self._through_gateway if number % 4 == 3 else self._over_grpc
        begun = time.monotonic()
        try:
            picture, expected = send(prompt, seed), self.expected[prompt, seed]
            # In another batch a picture may differ a little.
            share = 0.0 if picture == expected else share_of_differing_pixels(picture, expected)
            outcome = "another picture" if share > MAX_DIFFERING_SHARE else "right"
        except Exception as error:
            outcome = f"{type(error).__name__}: {error}"[:120]
        with self._lock:
            self.outcomes[outcome] += 1
            self.slowest = max(self.slowest, time.monotonic() - begun)

    def _over_grpc(self, prompt: str, seed: int) -> bytes:
        return self.client.generate(prompt, seed=seed)[0].png

    def _through_gateway(self, prompt: str, seed: int) -> bytes:
        query = urllib.parse.urlencode({"prompt": prompt, "seed": seed})
        url = f"{self.stack.gateway}/imagine?{query}"
        with urllib.request.urlopen(url, timeout=120) as answer:
            return bytes(answer.read())


def capacity(load: SoakLoad, seconds: float) -> float:
    """Returns pictures per second with CLIENTS concurrent clients, which fill a batch."""
    end, numbers = time.monotonic() + seconds, itertools.count()

    def work(_: int) -> int:
        drawn = 0
        while time.monotonic() < end:
            load.draw(next(numbers))
            drawn += 1
        return drawn

    begun = time.monotonic()
    with ThreadPoolExecutor(CLIENTS) as pool:
        drawn = sum(pool.map(work, range(CLIENTS)))
    return drawn / (time.monotonic() - begun)


def steadily(load: SoakLoad, rate: float, seconds: float, watcher: ProcessWatcher) -> set[str]:
    """Sends `rate` requests per second; returns the processes that were replaced meanwhile."""
    before, gone = watcher.sample(), set[str]()
    begun = sampled = reported = time.monotonic()
    with ThreadPoolExecutor(256) as pool:
        for number in itertools.count():
            due = begun + number / rate
            if due > begun + seconds:
                return gone
            time.sleep(max(0.0, due - time.monotonic()))
            pool.submit(load.draw, number)
            now = time.monotonic()
            if now > sampled + SAMPLE_SECONDS:
                sampled, gone = now, gone | set(replaced(before, watcher.sample()))
            if now > reported + REPORT_SECONDS:
                reported = now
                print(f"{now - begun:5.0f} s  {dict(load.outcomes)}", flush=True)
    return gone


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--folder", type=Path, default=ROOT / ".run" / "soak")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    with fuzzed_stack(options.folder, **SETTINGS) as stack:
        load = SoakLoad(stack)
        load.draw_expected()
        most = capacity(load, min(60.0, 12 * options.minutes))
        rate = SHARE * most
        print(f"{most:.2f} pictures a second at most; {rate:.2f} from now on", flush=True)
        load.outcomes.clear()
        load.slowest = 0.0
        watcher = ProcessWatcher(stack)
        gone = steadily(load, rate, 60 * options.minutes, watcher)
    fitted = trends.fit_trends(watcher.samples)
    print(trends.table(fitted))
    rising = [trend.quantity for trend in fitted if not trend.is_flat]
    print(f"{dict(load.outcomes)}, the slowest after {load.slowest:.1f} s")
    print(f"processes replaced: {', '.join(sorted(gone)) or 'none'}")
    good = not rising and not gone and set(load.outcomes) == {"right"}
    print("flat" if good else f"NOT WELL: {', '.join(rising) or 'see above'}")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()

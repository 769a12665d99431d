"""Four fifths of what a stack can do, for half an hour, and whether all that it holds stays flat.

First it is measured what it can do: as many at once as fit, for a minute. Then requests arrive one
by one at 80 % of that rate, whatever has become of those before; three of four over gRPC, one
through the gateway. Every picture is compared with what its seed gave at the start.
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
from tests.fuzz import flat
from tests.fuzz.__main__ import a_stack
from tests.fuzz.processes import Watcher, replaced
from tests.support.paths import ROOT
from tests.support.pictures import FAR_OFF, share_far_off
from tests.support.stacks import Stack

SHARE = 0.8
CLIENTS = 16  # at once, while it is measured what the stack can do
LOOK_SECONDS = 5.0
SAID_SECONDS = 60.0
PROMPTS = [f"a {colour} circle on a white background" for colour in ("red", "blue", "green")]
ASKED = [(prompt, seed) for prompt in PROMPTS for seed in range(4)]
# Caches that are full at once: what grows is not one that fills.
SETTINGS = {"TEXT_ENCODER_CACHE_MB": "1", "CACHE_BYTES": "0", "RATE_LIMIT": "100000/second"}
SETTINGS |= {"CONCURRENT_REQUESTS": "256"}  # all come from one address here
SETTINGS |= {"LOG_LEVEL": "WARNING", "DEFAULT_STEPS": "10"}


@dataclass
class Load:
    """Draws, and counts what came of it."""

    stack: Stack
    right: dict[tuple[str, int], bytes] = field(default_factory=dict)
    answers: Counter[str] = field(default_factory=Counter)
    late: float = 0.0

    def __post_init__(self) -> None:
        self.client = Client(self.stack.grpc, timeout=120, retries=0)
        self._count = threading.Lock()

    def learn(self) -> None:
        for asked in ASKED:
            self.right[asked] = self._over_grpc(*asked)

    def draw(self, number: int) -> None:
        asked = ASKED[number % len(ASKED)]
        way = self._through_gateway if number % 4 == 3 else self._over_grpc
        begun = time.monotonic()
        try:
            picture = way(*asked)
            wrong = picture != self.right[asked]  # other company, and it may differ a little
            far_off = wrong and share_far_off(picture, self.right[asked]) > FAR_OFF
            said = "another picture" if far_off else "right"
        except Exception as error:
            said = f"{type(error).__name__}: {error}"[:120]
        with self._count:
            self.answers[said] += 1
            self.late = max(self.late, time.monotonic() - begun)

    def _over_grpc(self, prompt: str, seed: int) -> bytes:
        return self.client.generate(prompt, seed=seed)[0].png

    def _through_gateway(self, prompt: str, seed: int) -> bytes:
        query = urllib.parse.urlencode({"prompt": prompt, "seed": seed})
        url = f"{self.stack.gateway}/imagine?{query}"
        with urllib.request.urlopen(url, timeout=120) as answer:
            return bytes(answer.read())


def capacity(load: Load, seconds: float) -> float:
    """Pictures a second with as many clients at once as make a full batch."""
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


def steadily(load: Load, rate: float, seconds: float, watcher: Watcher) -> set[str]:
    """The roles whose process was replaced meanwhile."""
    before, gone = watcher.look(), set[str]()
    begun = looked = said = time.monotonic()
    with ThreadPoolExecutor(256) as pool:
        for number in itertools.count():
            due = begun + number / rate
            if due > begun + seconds:
                return gone
            time.sleep(max(0.0, due - time.monotonic()))
            pool.submit(load.draw, number)
            now = time.monotonic()
            if now > looked + LOOK_SECONDS:
                looked, gone = now, gone | set(replaced(before, watcher.look()))
            if now > said + SAID_SECONDS:
                said = now
                print(f"{now - begun:5.0f} s  {dict(load.answers)}", flush=True)
    return gone


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--folder", type=Path, default=ROOT / ".run" / "soak")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    with a_stack(options.folder, **SETTINGS) as stack:
        load = Load(stack)
        load.learn()
        most = capacity(load, min(60.0, 12 * options.minutes))
        rate = SHARE * most
        print(f"{most:.2f} pictures a second at most; {rate:.2f} from now on", flush=True)
        load.answers.clear()
        load.late = 0.0
        watcher = Watcher(stack)
        gone = steadily(load, rate, 60 * options.minutes, watcher)
    lines = flat.lines(watcher.samples)
    print(flat.table(lines))
    rising = [line.what for line in lines if not line.is_flat]
    print(f"{dict(load.answers)}, the slowest after {load.late:.1f} s")
    print(f"processes replaced: {', '.join(sorted(gone)) or 'none'}")
    well = not rising and not gone and set(load.answers) == {"right"}
    print("flat" if well else f"NOT WELL: {', '.join(rising) or 'see above'}")
    sys.exit(0 if well else 1)


if __name__ == "__main__":
    main()

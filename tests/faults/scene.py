"""A stack under a steady load of seeded pictures, to which something happens."""

from __future__ import annotations

import math
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.faults.report import Row
from tests.support.load import Load, Pictures
from tests.support.stacks import STAR, Served, Stack, from_picture
from tests.support.waiting import wait_until

SEEDS = range(6)
STEPS = 12
DEADLINE = 60.0
GRACE = 5.0  # beyond the deadline, for what is underway
BEFORE, AFTERWARDS = 6, 12  # pictures
# In these words a client is told that it may well come again; `no available versions` and `not
# healthy` are Triton's own while it is restarted, which relay_client and the gateway know.
CLEAR = re.compile(
    r"StatusCode\.(UNAVAILABLE|DEADLINE_EXCEEDED|CANCELLED)\] \S"
    r"|has no available versions|Stub process \S+ is not healthy"
    r"|HTTP Error (503|504|429)|Connection refused|Deadline Exceeded"
)


@dataclass
class Scene:
    """rows: of the report, one a fault."""

    served: Served
    rows: list[Row]
    right: Pictures = field(default_factory=dict)
    clients: int = 4

    def __post_init__(self) -> None:
        assert wait_until(self._draws_again, 240, pause=1)
        self.right = {seed: self._text_to_image(seed) for seed in SEEDS}

    @property
    def stack(self) -> Stack:
        assert isinstance(self.served, Stack)
        return self.served

    def suffer(self, fault: str, strike: Callable[[], None], *, refuses: bool = False) -> None:
        """Strikes once pictures come, and waits until enough of them have come afterwards.

        refuses: whether this fault may cost requests at all, as long as each is told clearly.
        """
        with Load([self._text_to_image] * self.clients, SEEDS) as load:
            assert wait_until(lambda: load.pictures() >= BEFORE, 120, pause=0.1)
            struck = time.monotonic()
            strike()
            again = wait_until(lambda: load.pictures(since=struck) >= AFTERWARDS, 240, pause=0.1)
        row = self._judged(fault, load, struck)
        self.rows.append(row)
        assert again, f"no pictures after: {fault}; {load.outcomes(right=self.right)}"
        assert not row.unclear, (fault, Counter(row.unclear))
        assert row.sent == row.right + row.refused
        assert refuses or not row.refused, load.outcomes(right=self.right)
        assert row.slowest <= DEADLINE + GRACE

    def _judged(self, fault: str, load: Load, struck: float) -> Row:
        rights = [one for one in load.answers if one.is_of(self.right)]
        refused = [one for one in load.answers if CLEAR.search(one.error)]
        unclear = [one.error or "wrong" for one in load.answers if one not in (*rights, *refused)]
        first = min((one.ended for one in rights if one.began > struck), default=math.inf)
        last = max((one.ended for one in load.answers if one not in rights), default=first)
        return Row(
            fault=fault,
            sent=len(load.answers),
            right=len(rights),
            refused=len(refused),
            unclear=unclear,
            again=max(first, last) - struck,
            slowest=load.slowest,
        )

    def _text_to_image(self, seed: int) -> bytes:
        timeout = int(1e6 * DEADLINE)
        return _first(self.served.infer(STAR, seed=seed, steps=STEPS, timeout=timeout))

    def image_to_image(self, seed: int) -> bytes:
        options = {**from_picture(steps=STEPS), "seed": seed}
        return _first(self.served.infer(STAR, timeout=int(1e6 * DEADLINE), **options))

    def _draws_again(self) -> bool:
        """Whatever the fault before did, it is over."""
        try:
            return bool(self._text_to_image(0))
        except Exception:
            return False


def _first(answer: object) -> bytes:
    return bytes(answer.as_numpy("image")[0])  # type: ignore[attr-defined]

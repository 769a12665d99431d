"""Injects a fault into a service under a steady load, and judges every answer."""

from __future__ import annotations

import math
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.faults.report import Row
from tests.support.load import Load, Pictures
from tests.support.stacks import STAR, Stack, TritonService, image_to_image_options
from tests.support.waiting import wait_until

SEEDS = range(6)
STEPS = 12
DEADLINE = 60.0
GRACE = 5.0  # after the deadline, for answers on their way
PICTURES_BEFORE, PICTURES_AFTER = 6, 12  # the fault
# Messages from which a client knows that it may try again. Triton itself answers `no available
# versions` and `not healthy` while it is restarted; relay_client and the gateway know these too.
CLEAR_REFUSAL = re.compile(
    r"StatusCode\.(UNAVAILABLE|DEADLINE_EXCEEDED|CANCELLED)\] \S"
    r"|has no available versions|Stub process \S+ is not healthy"
    r"|HTTP Error (503|504|429)|Connection refused|Deadline Exceeded"
)


@dataclass
class FaultScenario:
    """rows: of the report, one for each fault. expected: the right picture of each seed."""

    service: TritonService
    rows: list[Row]
    expected: Pictures = field(default_factory=dict)
    clients: int = 4

    def __post_init__(self) -> None:
        assert wait_until(self._draws, 240, pause=1)
        self.expected = {seed: self._text_to_image(seed) for seed in SEEDS}

    @property
    def stack(self) -> Stack:
        assert isinstance(self.service, Stack)
        return self.service

    def survive(self, fault: str, inject: Callable[[], None], *, refuses: bool = False) -> None:
        """Calls `inject` under load; asserts that pictures come again and no answer is unclear.

        refuses: this fault may cost requests, if each is refused with a clear message.
        """
        with Load([self._text_to_image] * self.clients, SEEDS) as load:
            assert wait_until(lambda: load.pictures() >= PICTURES_BEFORE, 120, pause=0.1)
            injected = time.monotonic()
            inject()
            recovered = wait_until(
                lambda: load.pictures(since=injected) >= PICTURES_AFTER, 240, pause=0.1
            )
        row = self._report_row(fault, load, injected)
        self.rows.append(row)
        assert recovered, f"no pictures after: {fault}; {load.outcomes(right=self.expected)}"
        assert not row.unclear, (fault, Counter(row.unclear))
        assert row.sent == row.right + row.refused
        assert refuses or not row.refused, load.outcomes(right=self.expected)
        assert row.slowest <= DEADLINE + GRACE

    def _report_row(self, fault: str, load: Load, injected: float) -> Row:
        right = [one for one in load.answers if one.matches(self.expected)]
        refused = [one for one in load.answers if CLEAR_REFUSAL.search(one.error)]
        unclear = [one.error or "wrong" for one in load.answers if one not in (*right, *refused)]
        first_right = min((one.ended for one in right if one.began > injected), default=math.inf)
        last_failed = max((one.ended for one in load.answers if one not in right), default=0.0)
        return Row(
            fault=fault,
            sent=len(load.answers),
            right=len(right),
            refused=len(refused),
            unclear=unclear,
            recovery_seconds=max(first_right, last_failed) - injected,
            slowest=load.slowest,
        )

    def _text_to_image(self, seed: int) -> bytes:
        timeout = int(1e6 * DEADLINE)
        return _picture(self.service.infer(STAR, seed=seed, steps=STEPS, timeout=timeout))

    def image_to_image(self, seed: int) -> bytes:
        options = {**image_to_image_options(steps=STEPS), "seed": seed}
        return _picture(self.service.infer(STAR, timeout=int(1e6 * DEADLINE), **options))

    def _draws(self) -> bool:
        """Returns whether the service draws, so that an earlier fault is over."""
        try:
            return bool(self._text_to_image(0))
        except Exception:
            return False


def _picture(answer: object) -> bytes:
    return bytes(answer.as_numpy("image")[0])  # type: ignore[attr-defined]

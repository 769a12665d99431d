"""What candidates do on this machine: are they right, and how long do they take?"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import torch

from ray_stages.runtimes.catalog import KINDS
from ray_stages.runtimes.network import Network, Runtime
from ray_stages.runtimes.parity import LIMITS, Parity
from ray_stages.runtimes.place import Place

ROWS = (2, 8)
ROUNDS = 4  # the best of them counts: other programs take the device now and then
HOPELESS = 1.5  # so many times the cost of the best ends a candidate's rounds
BUDGET_SECONDS = 3.0  # for them


@dataclass(frozen=True)
class Seen:
    """One candidate. seconds: of one call with each of ROWS rows; reason: why it is out."""

    runtime: str
    precision: str
    error: float = 0.0
    seconds: tuple[float, ...] | list[float] = ()
    reason: str = ""

    @property
    def cost(self) -> float:
        """Seconds a row, few and many rows weighing the same."""
        parts = [taken / rows for taken, rows in zip(self.seconds, ROWS, strict=False)]
        return sum(parts) if parts else float("inf")

    def __str__(self) -> str:
        measured = "+".join(f"{1000 * taken:.1f}" for taken in self.seconds)
        return f"{self.runtime}/{self.precision}:{self.reason or measured + 'ms'}"


def measure(network: Network, place: Place, candidates: list[tuple[str, str]]) -> list[Seen]:
    """Of each: is it right, and how long does it take?

    Those of one precision stand together. Where one is right in the first, the others are not
    looked at: a graph takes seconds to make, and full precision was never faster than half.
    """
    parity = Parity(network)
    seen: list[Seen] = []
    for name, precision in candidates:
        if any(one.precision != precision and not one.reason for one in seen):
            break
        best = min((one.cost for one in seen), default=float("inf"))
        seen.append(_look_at(network, place, parity, name, precision, HOPELESS * best))
    return seen


def _look_at(
    network: Network, place: Place, parity: Parity, name: str, precision: str, most: float
) -> Seen:
    try:
        runtime = KINDS[name].open_network(network, precision, place)
        error = parity.error(runtime)
        if error > LIMITS[precision]:
            return Seen(name, precision, error, reason=f"off by {error:.1e}")
        seen = Seen(name, precision, error, _round(network, runtime))
        end = time.monotonic() + BUDGET_SECONDS
        for i in range(ROUNDS):
            if time.monotonic() > end or (i and seen.cost > most):
                break
            rounds = zip(seen.seconds, _round(network, runtime), strict=True)
            seen = replace(seen, seconds=[min(pair) for pair in rounds])
        return seen
    except Exception as failure:  # whatever another project's converter raises
        reason = str(failure).strip().splitlines()[0][:200] if str(failure).strip() else ""
        return Seen(name, precision, reason=f"{type(failure).__name__}: {reason}")


def _round(network: Network, runtime: Runtime) -> list[float]:
    """Seconds of one call with each of ROWS; the first round also prepares these shapes."""
    times = []
    for rows in ROWS:
        inputs = network.example(rows)
        begin = time.perf_counter()
        runtime(*inputs)
        if network.device.type == "cuda":
            torch.cuda.synchronize(network.device)
        times.append(time.perf_counter() - begin)
    return times

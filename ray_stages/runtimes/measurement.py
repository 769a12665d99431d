"""What candidates do on this machine: are they right, and how long do they take?"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from ray_stages.runtimes.catalog import KINDS
from ray_stages.runtimes.network import Network, Runtime, Tensors
from ray_stages.runtimes.parity import LIMITS, Parity
from ray_stages.runtimes.place import Place

ROWS = (2, 8)
ROUNDS = 5
BUDGET_SECONDS = 3.0  # for the rounds of one candidate


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
    """Of each: is it right, and how long does it take?"""
    parity = Parity(network)
    return [_look_at(network, place, parity, *candidate) for candidate in candidates]


def _look_at(network: Network, place: Place, parity: Parity, name: str, precision: str) -> Seen:
    try:
        runtime = KINDS[name].open_network(network, precision, place)
        error = parity.error(runtime)
        if error > LIMITS[precision]:
            return Seen(name, precision, error, reason=f"off by {error:.1e}")
        inputs = [network.example(rows) for rows in ROWS]
        return Seen(name, precision, error, _times(runtime, inputs, place.device))
    except Exception as failure:  # whatever another project's converter raises
        reason = str(failure).strip().splitlines()[0][:200] if str(failure).strip() else ""
        return Seen(name, precision, reason=f"{type(failure).__name__}: {reason}")


def _times(runtime: Runtime, inputs: list[Tensors], device: torch.device) -> list[float]:
    """The best of some rounds counts: other programs take the device now and then."""
    end = time.monotonic() + BUDGET_SECONDS
    best = [float("inf")] * len(inputs)
    for _ in range(ROUNDS + 1):  # the first, which prepares the shapes, never is the best
        for i, tensors in enumerate(inputs):
            begin = time.perf_counter()
            runtime(*tensors)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            best[i] = min(best[i], time.perf_counter() - begin)
        if time.monotonic() > end:
            break
    return best

"""Measures the error and the speed of candidate runtimes on this machine."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import torch

from ray_stages.runtimes.catalog import RUNTIME_MODULES
from ray_stages.runtimes.network import Network, Runtime
from ray_stages.runtimes.parity import LIMITS, ParityCheck
from ray_stages.runtimes.target import Target

ROWS = (2, 8)  # batch sizes to time
ROUNDS = 4  # the best one counts: other programs use the device now and then
TOO_SLOW = 1.5  # a candidate that costs this many times the best gets no more rounds
BUDGET_SECONDS = 3.0  # for the rounds of one candidate


@dataclass(frozen=True)
class Measurement:
    """The measurement of one candidate.

    error: see `ParityCheck.error`; seconds: of one call, for each of ROWS; reason: why the
    candidate cannot be used, or empty.
    """

    runtime: str
    precision: str
    error: float = 0.0
    seconds: tuple[float, ...] | list[float] = ()
    reason: str = ""

    @property
    def cost(self) -> float:
        """The sum of the seconds per row over ROWS; infinite if nothing was measured."""
        parts = [seconds / rows for seconds, rows in zip(self.seconds, ROWS, strict=False)]
        return sum(parts) if parts else float("inf")

    def __str__(self) -> str:
        measured = "+".join(f"{1000 * seconds:.1f}" for seconds in self.seconds)
        return f"{self.runtime}/{self.precision}:{self.reason or measured + 'ms'}"


def measure(
    network: Network, target: Target, candidates: list[tuple[str, str]]
) -> list[Measurement]:
    """Measures candidates, given as runtime and precision, in order.

    Candidates of one precision follow each other. Once one of them is accurate, those of other
    precisions are skipped: each export takes seconds, and full precision was never faster than
    half precision.
    """
    parity = ParityCheck(network)
    measured: list[Measurement] = []
    for name, precision in candidates:
        if any(one.precision != precision and not one.reason for one in measured):
            break
        best = min((one.cost for one in measured), default=float("inf"))
        measured.append(
            _measure_candidate(network, target, parity, name, precision, TOO_SLOW * best)
        )
    return measured


def _measure_candidate(
    network: Network,
    target: Target,
    parity: ParityCheck,
    name: str,
    precision: str,
    max_cost: float,
) -> Measurement:
    try:
        runtime = RUNTIME_MODULES[name].open_network(network, precision, target)
        error = parity.error(runtime)
        if error > LIMITS[precision]:
            return Measurement(name, precision, error, reason=f"off by {error:.1e}")
        measured = Measurement(name, precision, error, _time_calls(network, runtime))
        end = time.monotonic() + BUDGET_SECONDS
        for i in range(ROUNDS):
            if time.monotonic() > end or (i and measured.cost > max_cost):
                break
            rounds = zip(measured.seconds, _time_calls(network, runtime), strict=True)
            measured = replace(measured, seconds=[min(pair) for pair in rounds])
        return measured
    except Exception as failure:  # converters and runtimes raise anything
        reason = str(failure).strip().splitlines()[0][:200] if str(failure).strip() else ""
        return Measurement(name, precision, reason=f"{type(failure).__name__}: {reason}")


def _time_calls(network: Network, runtime: Runtime) -> list[float]:
    """Returns the seconds of a call for each of ROWS; the first round also prepares the shapes."""
    times = []
    for rows in ROWS:
        inputs = network.example(rows)
        begin = time.perf_counter()
        runtime(*inputs)
        if network.device.type == "cuda":
            torch.cuda.synchronize(network.device)
        times.append(time.perf_counter() - begin)
    return times

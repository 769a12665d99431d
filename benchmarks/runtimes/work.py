"""What a child does: opens one candidate, and then whatever is asked of it."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from benchmarks.runtimes.drawing import draw
from benchmarks.runtimes.plan import Bench, Candidate
from ray_stages.families import networks
from ray_stages.families.checkpoint import Checkpoint
from ray_stages.runtimes import eager
from ray_stages.runtimes.catalog import KINDS
from ray_stages.runtimes.network import Network, Runtime, Tensors
from ray_stages.runtimes.padding import padded
from ray_stages.runtimes.parity import Parity
from ray_stages.runtimes.place import Place
from ray_stages.serving.calibration import Calibration

FIRST_ROWS = 2


@dataclass
class Opened:
    """What this process computes with. network: as long as parity needs its weights."""

    runtime: Runtime
    network: Network | None
    inputs: dict[int, Tensors]


_opened: list[Opened] = []  # one at most


@dataclass(frozen=True)
class Opening:
    """seconds: to the first answer, without loading the checkpoint; peak_mb: of the process."""

    seconds: float
    peak_mb: float


def process_id() -> int:
    return os.getpid()


def open_candidate(
    bench: Bench, candidate: Candidate, threads: int, rows: Sequence[int]
) -> Opening:
    """rows: that it will be called with."""
    _opened.clear()
    torch.set_num_threads(threads)
    checkpoint = Checkpoint(bench.settings)
    network = networks.NETWORKS[candidate.stage](checkpoint)
    if bench.size:
        side = bench.size // checkpoint.card.vae_scale_factor
        network = replace(
            network,
            usual={**network.usual, "height": side, "width": side},
            odd={"height": side + 1, "width": side + 3},
        )
    inputs = {number: network.example(number) for number in {FIRST_ROWS, *rows}}
    begin = time.perf_counter()
    runtime = _open(bench, checkpoint, network, candidate, threads)
    runtime(*inputs[FIRST_ROWS])
    seconds = time.perf_counter() - begin
    _opened.append(Opened(runtime, network, inputs))
    return Opening(seconds, _peak_mb())


def _open(
    bench: Bench, checkpoint: Checkpoint, network: Network, candidate: Candidate, threads: int
) -> Runtime:
    folder = bench.cache(candidate)
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder / "inductor")
    drawn = Calibration(checkpoint).inputs_of
    place = Place(
        checkpoint.device,
        threads,
        folder,
        drawn if bench.draws else lambda _: [network.example(FIRST_ROWS)],
    )
    return KINDS[candidate.runtime].open_network(network, candidate.precision, place)


def error() -> float:
    """Against eager float32; the weights are let go of."""
    (one,) = _opened
    assert one.network
    found = Parity(one.network).error(one.runtime)
    one.network = None
    return found


def call(rows: int) -> float:
    """Seconds of one call."""
    (one,) = _opened
    begin = time.perf_counter()
    one.runtime(*one.inputs[rows])
    return time.perf_counter() - begin


def sequence(rows: Sequence[int], pads: bool) -> float:
    """Seconds of calls with so many rows, one after the other."""
    (one,) = _opened
    compute = padded(one.runtime) if pads else one.runtime
    begin = time.perf_counter()
    for number in rows:
        compute(*one.inputs[number])
    return time.perf_counter() - begin


def rate(rows: int, seconds: float) -> float:
    """Rows a second, for that long."""
    begin, calls = time.perf_counter(), 0
    while (taken := time.perf_counter() - begin) < seconds:
        call(rows)
        calls += 1
    return rows * calls / taken


def draw_with_unet(bench: Bench, prompts: list[str]) -> list[bytes]:
    """The other stages eager and in float32."""

    (one,) = _opened

    def opener(network: Network) -> Runtime:
        return one.runtime if network.name == "unet" else eager.as_loaded(network)

    return draw(Checkpoint(bench.settings), prompts, bench.plan.steps, opener)


def draw_with_all(bench: Bench, runtime: str, precision: str, prompts: list[str]) -> list[bytes]:
    torch.set_num_threads(bench.threads)
    checkpoint = Checkpoint(bench.settings)

    def opener(network: Network) -> Runtime:
        candidate = Candidate(network.name, runtime, precision)
        return _open(bench, checkpoint, network, candidate, bench.threads)

    return draw(checkpoint, prompts, bench.plan.steps, opener)


def _peak_mb() -> float:
    """Not getrusage's, which counts what the parent held when it started this process."""
    status = Path("/proc/self/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024

"""What runs in a worker process: opening one candidate, and calling it."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from benchmarks.runtimes.drawing import draw
from benchmarks.runtimes.plan import Candidate, Setup
from ray_stages.families import networks
from ray_stages.families.checkpoint import Checkpoint
from ray_stages.runtimes import eager
from ray_stages.runtimes.catalog import RUNTIME_MODULES
from ray_stages.runtimes.network import Network, Runtime, Tensors
from ray_stages.runtimes.padding import pad_rows
from ray_stages.runtimes.parity import ParityCheck
from ray_stages.runtimes.target import Target
from ray_stages.serving.calibration import Calibration

FIRST_ROWS = 2


@dataclass
class OpenCandidate:
    """The runtime of this process. network: its weights, until parity has been measured."""

    runtime: Runtime
    network: Network | None
    inputs: dict[int, Tensors]


_open_candidates: list[OpenCandidate] = []  # one at most


@dataclass(frozen=True)
class OpenTimes:
    """seconds: until the first answer, without loading the checkpoint; peak_mb: of the process."""

    seconds: float
    peak_mb: float


def process_id() -> int:
    return os.getpid()


def open_candidate(
    setup: Setup, candidate: Candidate, threads: int, rows: Sequence[int]
) -> OpenTimes:
    """Opens a candidate in place of the previous one. rows: the batch sizes of later calls."""
    _open_candidates.clear()
    torch.set_num_threads(threads)
    checkpoint = Checkpoint(setup.settings)
    network = networks.NETWORKS[candidate.stage](checkpoint)
    if setup.size:
        side = setup.size // checkpoint.card.vae_scale_factor
        network = replace(
            network,
            usual_sizes={**network.usual_sizes, "height": side, "width": side},
            odd_sizes={"height": side + 1, "width": side + 3},
        )
    inputs = {number: network.example(number) for number in {FIRST_ROWS, *rows}}
    begin = time.perf_counter()
    runtime = _open(setup, checkpoint, network, candidate, threads)
    runtime(*inputs[FIRST_ROWS])
    seconds = time.perf_counter() - begin
    _open_candidates.append(OpenCandidate(runtime, network, inputs))
    return OpenTimes(seconds, _peak_mb())


def _open(
    setup: Setup, checkpoint: Checkpoint, network: Network, candidate: Candidate, threads: int
) -> Runtime:
    folder = setup.cache(candidate)
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder / "inductor")
    drawn = Calibration(checkpoint).inputs_of
    target = Target(
        checkpoint.device,
        threads,
        folder,
        drawn if setup.draws else lambda _: [network.example(FIRST_ROWS)],
    )
    return RUNTIME_MODULES[candidate.runtime].open_network(network, candidate.precision, target)


def error() -> float:
    """Returns the difference to eager float32, and frees the weights."""
    (candidate,) = _open_candidates
    assert candidate.network
    difference = ParityCheck(candidate.network).error(candidate.runtime)
    candidate.network = None
    return difference


def call(rows: int) -> float:
    """Returns the seconds of one call."""
    (candidate,) = _open_candidates
    begin = time.perf_counter()
    candidate.runtime(*candidate.inputs[rows])
    return time.perf_counter() - begin


def sequence(rows: Sequence[int], pads: bool) -> float:
    """Returns the seconds of a sequence of calls with these numbers of rows."""
    (candidate,) = _open_candidates
    compute = pad_rows(candidate.runtime) if pads else candidate.runtime
    begin = time.perf_counter()
    for number in rows:
        compute(*candidate.inputs[number])
    return time.perf_counter() - begin


def rate(rows: int, seconds: float) -> float:
    """Returns the rows a second, measured over `seconds`."""
    begin, calls = time.perf_counter(), 0
    while (taken := time.perf_counter() - begin) < seconds:
        call(rows)
        calls += 1
    return rows * calls / taken


def draw_with_unet(setup: Setup, prompts: list[str]) -> list[bytes]:
    """Draws with this UNet, and with the other stages in eager float32."""

    (candidate,) = _open_candidates

    def opener(network: Network) -> Runtime:
        return candidate.runtime if network.name == "unet" else eager.open_as_loaded(network)

    return draw(Checkpoint(setup.settings), prompts, setup.plan.steps, opener)


def draw_with_all(setup: Setup, runtime: str, precision: str, prompts: list[str]) -> list[bytes]:
    """Draws with one runtime in all stages."""
    torch.set_num_threads(setup.threads)
    checkpoint = Checkpoint(setup.settings)

    def opener(network: Network) -> Runtime:
        candidate = Candidate(network.name, runtime, precision)
        return _open(setup, checkpoint, network, candidate, setup.threads)

    return draw(checkpoint, prompts, setup.plan.steps, opener)


def _peak_mb() -> float:
    """Returns the peak of this process; getrusage would count its parent's memory too."""
    status = Path("/proc/self/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024

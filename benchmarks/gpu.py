"""Compares ways of batching on a GPU: one request at a time, batches of requests, our stages.

All of it runs in this process, without Ray, Triton or HTTP; `python -m benchmarks` with MODEL and
DEVICE=cuda measures the whole stack. The checkpoint is MODEL, or one with the shapes of Stable
Diffusion 1.5 and random weights.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from dataclasses import replace

import torch
from rich.console import Console

from benchmarks.common.random_sd15 import make_checkpoint
from benchmarks.measurement.machine import run_facts
from benchmarks.measurement.plan import SERVERS, Plan
from benchmarks.measurement.results import Results
from benchmarks.measurement.runner import Runner
from benchmarks.peers.in_process import OneAtATime, RequestBatches, Stages
from benchmarks.peers.peer import Peer
from benchmarks.reports.report import report
from ray_stages.settings import Settings

PEERS: dict[str, type[Peer]] = {peer.key: peer for peer in (OneAtATime, RequestBatches, Stages)}
PLAN = Plan(steps=50, mix=(25, 50, 75), rounds=1, seconds=20.0, sweep=(1, 4, 16, 32), peers=SERVERS)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--rounds", type=int, default=PLAN.rounds, help=f"{PLAN.rounds}")
    add("--seconds", type=float, default=PLAN.seconds, help=f"of a Poisson load: {PLAN.seconds:g}")
    add("--steps", type=int, default=PLAN.steps, help=f"{PLAN.steps}")
    add("--mix", type=int, nargs="+", default=PLAN.mix, help="steps in mixed loads: 25 50 75")
    add("--name", default="gpu", help="name of the result: gpu")
    add("--without-gpu", action="store_true", help="run without a GPU, to try out this program")
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    if not (torch.cuda.is_available() or arguments.without_gpu):
        sys.exit("benchmarks.gpu: there is no CUDA device here, so nothing is measured")
    settings = Settings.from_env()
    if not os.environ.get("MODEL"):
        folder = settings.cache_dir / "random-sd15"
        device = "cuda" if torch.cuda.is_available() else "cpu"
        settings = settings.replace(model=str(make_checkpoint(folder, device)))
    plan = replace(
        PLAN,
        rounds=arguments.rounds,
        seconds=arguments.seconds,
        steps=arguments.steps,
        mix=tuple(arguments.mix),
    )
    console = Console(highlight=False)
    results = Results.begin(arguments.name, run_facts(plan, settings, PEERS))
    asyncio.run(Runner(plan, PEERS, settings, results, console).run())
    results.finish()
    report(results, console, section="gpu")


if __name__ == "__main__":
    main()

"""Measures Latent Relay beside its peers, and writes what it found.

The model, its device and the stack's settings come from the environment, as for `make serve`.
Figures go to benchmarks/results/NAME.json and into docs/benchmarks.md, plots beside the figures.
A run that was killed goes on where it was when the same command is given again.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from dataclasses import replace

from rich.console import Console

from benchmarks.loads.plan import PEERS, SERVERS, Plan
from benchmarks.measurement.machine import facts
from benchmarks.measurement.results import FOLDER, Results
from benchmarks.measurement.runner import Runner
from benchmarks.peers.child_peers import (
    OneProcess,
    OneProcessFast,
    PeerFailed,
    ServeBatch,
    ServeBatchFast,
    ServeTemplate,
)
from benchmarks.peers.peer import Peer
from benchmarks.peers.relay import Relay
from benchmarks.reports.report import QUICK, report
from ray_stages.settings import Settings

SAME_RUNTIME = "same-runtime"
MEASURED: dict[str, type[Peer]] = {
    peer.key: peer
    for peer in (OneProcess, OneProcessFast, ServeTemplate, ServeBatch, ServeBatchFast, Relay)
}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    whole = Plan()
    add = parser.add_argument
    add("--quick", action="store_true", help="does everything once, in under three minutes")
    add("--name", default="", help="of the result: the device and its cores")
    add("--rounds", type=int, default=whole.rounds, help=f"{whole.rounds}")
    add("--seconds", type=float, default=whole.seconds, help=f"a Poisson load: {whole.seconds:g}")
    add("--steps", type=int, default=whole.steps, help=f"{whole.steps}")
    add("--mix", type=int, nargs="+", default=whole.mix, help="steps of mixed loads: 10 20 30")
    add("--peers", nargs="+", default=PEERS, choices=PEERS, help="all")
    add("--same-runtime", action="store_true", help="request-level batching by our runtime, and us")
    add("--report", action="store_true", help="measures nothing; writes NAME's tables and plots")
    arguments = parser.parse_args()
    if not set(arguments.peers) & set(SERVERS):
        parser.error(f"--peers: one of {', '.join(SERVERS)} at least")
    return arguments


def plan_of(arguments: argparse.Namespace) -> Plan:
    plan = Plan(
        steps=arguments.steps,
        mix=tuple(arguments.mix),
        rounds=arguments.rounds,
        seconds=arguments.seconds,
        peers=tuple(arguments.peers),
    )
    if arguments.quick:
        plan = replace(Plan.quick(), peers=plan.peers)
    return plan.with_one_runtime() if arguments.same_runtime else plan


def main() -> None:
    arguments = parse()
    console = Console(highlight=False)
    try:
        settings = Settings.from_env()
        plan = plan_of(arguments)
        found = facts(plan, settings, MEASURED)
        cores = f"{found['model']['device']}-{found['machine']['cores']}-cores"
        section = SAME_RUNTIME if arguments.same_runtime else "results"
        end = f"-{section}" if arguments.same_runtime else ""
        name = arguments.name or (QUICK if arguments.quick else cores) + end
        if arguments.report:
            results = Results.load(FOLDER / f"{name}.json")
        else:
            results = Results.begin(name, found)
            asyncio.run(Runner(plan, MEASURED, settings, results, console).run())
            results.finish()
        report(results, console, section)
    except KeyboardInterrupt:
        sys.exit(130)
    except (PeerFailed, OSError, ValueError) as error:
        console.print(f"benchmarks: {error}", soft_wrap=True)
        sys.exit(1)


if __name__ == "__main__":
    main()

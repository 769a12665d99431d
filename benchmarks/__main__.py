"""Measures Latent Relay and its peers, and writes tables and plots.

The model, its device and the stack's settings come from the environment, as for `make serve`.
Figures go to benchmarks/results/NAME.json and into docs/benchmarks.md, plots beside the figures.
The same command again continues a run that was killed.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from dataclasses import replace

from rich.console import Console

from benchmarks.measurement.machine import run_facts
from benchmarks.measurement.plan import PEERS, SERVERS, Plan
from benchmarks.measurement.results import RESULTS_FOLDER, Results
from benchmarks.measurement.runner import Runner
from benchmarks.peers.child_peer import PeerFailed
from benchmarks.peers.one_process import OneProcess, OneProcessFast
from benchmarks.peers.peer import Peer
from benchmarks.peers.relay import Relay
from benchmarks.peers.serve import ServeBatch, ServeBatchFast, ServeTemplate
from benchmarks.reports.report import QUICK, report
from ray_stages.settings import Settings

SAME_RUNTIME = "same-runtime"
PEER_TYPES: dict[str, type[Peer]] = {
    peer.key: peer
    for peer in (OneProcess, OneProcessFast, ServeTemplate, ServeBatch, ServeBatchFast, Relay)
}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    defaults = Plan()
    add = parser.add_argument
    add("--quick", action="store_true", help="measure everything once, in under three minutes")
    add("--name", default="", help="of the result: device and number of cores")
    add("--rounds", type=int, default=defaults.rounds, help=f"{defaults.rounds}")
    add(
        "--seconds",
        type=float,
        default=defaults.seconds,
        help=f"of a Poisson load: {defaults.seconds:g}",
    )
    add("--steps", type=int, default=defaults.steps, help=f"{defaults.steps}")
    add("--mix", type=int, nargs="+", default=defaults.mix, help="steps in mixed loads: 10 20 30")
    add("--peers", nargs="+", default=PEERS, choices=PEERS, help="all")
    add(
        "--same-runtime",
        action="store_true",
        help="only ours and request-level batching with our runtime",
    )
    add(
        "--report",
        action="store_true",
        help="measure nothing; write the tables and plots of NAME again",
    )
    arguments = parser.parse_args()
    if not set(arguments.peers) & set(SERVERS):
        parser.error(f"--peers: one of {', '.join(SERVERS)} at least")
    return arguments


def plan_from(arguments: argparse.Namespace) -> Plan:
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
        plan = plan_from(arguments)
        facts = run_facts(plan, settings, PEER_TYPES)
        cores = f"{facts['model']['device']}-{facts['machine']['cores']}-cores"
        section = SAME_RUNTIME if arguments.same_runtime else "results"
        suffix = f"-{section}" if arguments.same_runtime else ""
        name = arguments.name or (QUICK if arguments.quick else cores) + suffix
        if arguments.report:
            results = Results.load(RESULTS_FOLDER / f"{name}.json")
        else:
            results = Results.begin(name, facts)
            asyncio.run(Runner(plan, PEER_TYPES, settings, results, console).run())
            results.finish()
        report(results, console, section)
    except KeyboardInterrupt:
        sys.exit(130)
    except (PeerFailed, OSError, ValueError) as error:
        console.print(f"benchmarks: {error}", soft_wrap=True)
        sys.exit(1)


if __name__ == "__main__":
    main()

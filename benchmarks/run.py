"""Visits the peers, one at a time, and measures what the plan says."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.loads import Draw, closed_loop, open_loop
from benchmarks.peers import OneProcess, Peer, ServeBatch, ServeTemplate
from benchmarks.plan import LABELS, Load, Plan, Visit
from benchmarks.relay import Relay, hops
from benchmarks.results import Results
from benchmarks.samples import Cell, Sample, mean_spans
from benchmarks.workload import poisson, wishes
from ray_stages.settings import Settings

PEERS: dict[str, type[Peer]] = {
    peer.key: peer for peer in (OneProcess, ServeTemplate, ServeBatch, Relay)
}
# Kernels pick their ways for each batch size when they first see it.
WARM_UP_CLIENTS = (1, 2, 4, 8, 16)
WARM_UP_STEPS = 3


class Runner:
    def __init__(self, plan: Plan, settings: Settings, results: Results, console: Console) -> None:
        self.plan, self.settings, self.results, self.console = plan, settings, results, console
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
        )

    async def run(self) -> None:
        visits = [visit for visit in map(self._missing, self.plan.visits()) if visit.loads]
        with self.progress:
            total = sum(len(visit.loads) for visit in visits)
            self.task = self.progress.add_task("", total=total)
            for visit in visits:
                await self._visit(visit)

    def _missing(self, visit: Visit) -> Visit:
        missing = [
            load for load in visit.loads if not self.results.has(visit.peer, load.name, visit.round)
        ]
        return Visit(visit.round, visit.peer, tuple(missing))

    async def _visit(self, visit: Visit) -> None:
        self._say(visit, "starting")
        async with PEERS[visit.peer](self.settings) as peer:
            self._say(visit, "warming up")
            for clients in WARM_UP_CLIENTS:
                await closed_loop(peer.draw, wishes(clients, [WARM_UP_STEPS]), clients, seconds=0)
            for load in visit.loads:
                self._say(visit, load.name)
                draw = await self._draw(peer, load)
                if draw is not None:
                    self.results.add(await self._measure(peer, draw, load, visit.round))
                self.progress.advance(self.task)

    async def _draw(self, peer: Peer, load: Load) -> Draw | None:
        """How a picture is asked for; none where a peer cannot do it that way."""
        if not load.streamed:
            return peer.draw
        if isinstance(peer, Relay) and await peer.streams():
            return peer.draw_streamed
        self.console.print(f"{peer.label} has no stream: no {load.name}")
        return None

    async def _measure(self, peer: Peer, draw: Draw, load: Load, number: int) -> Cell:
        cpu, counters, begin = peer.cpu_seconds(), await peer.hop_counters(), time.monotonic()
        samples = await self._apply(draw, load, number)
        seconds, cpu = time.monotonic() - begin, peer.cpu_seconds() - cpu
        cell = Cell(peer.key, load.name, number, seconds, cpu, samples)
        after = await peer.hop_counters()
        if not after or load.streamed or not cell.drawn:
            return cell
        means = {name: (after[name] - counters.get(name, 0.0)) / len(cell.drawn) for name in after}
        latency = sum(sample.latency for sample in cell.drawn) / len(cell.drawn)
        between = hops(means, latency, mean_spans([cell]))
        return Cell(peer.key, load.name, number, seconds, cpu, samples, between)

    async def _apply(self, draw: Draw, load: Load, number: int) -> Sequence[Sample]:
        """The same seeds for every peer in a round, others in the next."""
        steps = self.plan.mix if load.mixed else (self.plan.steps,)
        if load.clients:
            return await closed_loop(draw, wishes(number, steps), load.clients, load.seconds)
        rate = self.results.capacity() * load.percent / 100
        return await open_loop(draw, poisson(number, steps, rate, load.seconds))

    def _say(self, visit: Visit, what: str) -> None:
        round_of = f"round {visit.round + 1}/{self.plan.rounds}"
        self.progress.update(self.task, description=f"{round_of}  {LABELS[visit.peer]}  {what}")


def run(plan: Plan, settings: Settings, results: Results, console: Console) -> None:
    asyncio.run(Runner(plan, settings, results, console).run())

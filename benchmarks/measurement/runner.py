"""Visits the peers, one at a time, and measures what the plan says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.loads.clients import Draw, closed_loop, open_loop
from benchmarks.loads.plan import Load, Plan, Visit
from benchmarks.loads.samples import Cell, Sample
from benchmarks.loads.workload import Wish, poisson, wishes
from benchmarks.measurement.clock import Clock
from benchmarks.measurement.results import Results
from benchmarks.peers.peer import Peer
from benchmarks.png import from_png
from ray_stages.settings import Settings

# Kernels pick their ways for each batch size when they first see it.
WARM_UP_CLIENTS = (1, 2, 4, 8, 16)
WARM_UP_STEPS = 3


class Runner:
    """peers: by the keys that the plan has for them."""

    def __init__(
        self,
        plan: Plan,
        peers: Mapping[str, type[Peer]],
        settings: Settings,
        results: Results,
        console: Console,
    ) -> None:
        self.plan, self.peers, self.settings, self.results = plan, peers, settings, results
        self.console = console
        self.pictures: dict[str, bytes] = {}
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
        if len(self.pictures) > 1:
            self.results.facts["difference"] = difference(list(self.pictures.values()))

    def _missing(self, visit: Visit) -> Visit:
        missing = [
            load for load in visit.loads if not self.results.has(visit.peer, load.name, visit.round)
        ]
        return Visit(visit.round, visit.peer, tuple(missing))

    async def _visit(self, visit: Visit) -> None:
        self._say(visit, "starting")
        async with self.peers[visit.peer](self.settings) as peer:
            self._say(visit, "warming up")
            for clients in WARM_UP_CLIENTS:
                await closed_loop(peer.draw, wishes([clients], [WARM_UP_STEPS]), clients, seconds=0)
            self.pictures[visit.peer] = (await peer.draw(self._same())).png
            for load in visit.loads:
                self._say(visit, load.name)
                draw = await peer.stream() if load.streamed else peer.draw
                if draw is None:
                    self.console.print(f"{peer.label} has no stream: no {load.name}")
                else:
                    self.results.add(await self._measure(peer, draw, load, visit.round))
                self.progress.advance(self.task)

    async def _measure(self, peer: Peer, draw: Draw, load: Load, number: int) -> Cell:
        counters, before = await peer.counters(), Clock.read(peer)
        samples = await self._apply(draw, load, number)
        spent = Clock.read(peer) - before
        cell = Cell(
            peer=peer.key,
            load=load.name,
            round=number,
            seconds=spent.wall,
            cpu_seconds=spent.peer,
            others=max(0.0, spent.machine - spent.peer - spent.us) / spent.wall,
            samples=samples,
        )
        if not counters or load.streamed or not cell.drawn:
            return cell
        grown = await peer.counters()
        means = {name: (grown[name] - counters[name]) / len(cell.drawn) for name in counters}
        return replace(cell, hops=peer.hops(means, cell))

    async def _apply(self, draw: Draw, load: Load, number: int) -> Sequence[Sample]:
        """The same wishes for every peer in a round, others in the next."""
        steps = self.plan.mix if load.mixed else (self.plan.steps,)
        if load.clients:
            asked = wishes([number, load.clients, load.streamed], steps)
            return await closed_loop(draw, asked, load.clients, load.seconds)
        rate = self.results.capacity() * load.percent / 100
        return await open_loop(draw, poisson([number, load.percent], steps, rate, load.seconds))

    def _same(self) -> Wish:
        return Wish("a large yellow star on a black background", seed=7, steps=self.plan.steps)

    def _say(self, visit: Visit, what: str) -> None:
        round_of = f"round {visit.round + 1}/{self.plan.rounds}"
        self.progress.update(
            self.task, description=f"{round_of}  {self.peers[visit.peer].label}  {what}"
        )


def difference(pngs: Sequence[bytes]) -> int:
    """The largest between any pixel of two pictures, of 255."""
    pictures = [np.asarray(from_png(png)).astype(int) for png in pngs]
    return max(int(np.abs(pictures[0] - other).max()) for other in pictures[1:])

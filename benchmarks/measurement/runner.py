"""The runner: it starts one peer after the other, and measures the loads of the plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.common.png import from_png
from benchmarks.load.loops import DrawFunction, closed_loop, open_loop
from benchmarks.load.requests import GenerationRequest, poisson_requests, random_requests
from benchmarks.load.samples import Measurement, Sample
from benchmarks.measurement.cpu_usage import CpuUsage
from benchmarks.measurement.plan import Load, PeerSession, Plan
from benchmarks.measurement.results import Results
from benchmarks.peers.peer import Peer
from ray_stages.settings import Settings

# A kernel chooses its implementation when it first sees a batch size.
WARM_UP_CLIENTS = (1, 2, 4, 8, 16)
WARM_UP_STEPS = 3


class Runner:
    """Runs what is missing in `results`. peers: by the keys that the plan uses."""

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
        sessions = [
            session for session in map(self._missing, self.plan.sessions()) if session.loads
        ]
        with self.progress:
            total = sum(len(session.loads) for session in sessions)
            self.task = self.progress.add_task("", total=total)
            for session in sessions:
                await self._run_session(session)
        if len(self.pictures) > 1:
            self.results.facts["difference"] = difference(list(self.pictures.values()))

    def _missing(self, session: PeerSession) -> PeerSession:
        missing = [
            load
            for load in session.loads
            if not self.results.has(session.peer, load.name, session.round)
        ]
        return PeerSession(session.round, session.peer, tuple(missing))

    async def _run_session(self, session: PeerSession) -> None:
        self._show_progress(session, "starting")
        async with self.peers[session.peer](self.settings) as peer:
            self._show_progress(session, "warming up")
            for clients in WARM_UP_CLIENTS:
                await closed_loop(
                    peer.draw, random_requests([clients], [WARM_UP_STEPS]), clients, seconds=0
                )
            self.pictures[session.peer] = (await peer.draw(self._reference_request())).png
            for load in session.loads:
                self._show_progress(session, load.name)
                draw = await peer.stream() if load.streamed else peer.draw
                if draw is None:
                    self.console.print(f"{peer.label} has no stream: no {load.name}")
                else:
                    self.results.add(await self._measure(peer, draw, load, session.round))
                self.progress.advance(self.task)

    async def _measure(
        self, peer: Peer, draw: DrawFunction, load: Load, number: int
    ) -> Measurement:
        counters, before = await peer.counters(), CpuUsage.read(peer)
        samples = await self._apply(draw, load, number)
        spent = CpuUsage.read(peer) - before
        measurement = Measurement(
            peer=peer.key,
            load=load.name,
            round=number,
            seconds=spent.wall,
            cpu_seconds=spent.peer,
            others=max(0.0, spent.machine - spent.peer - spent.this_process) / spent.wall,
            samples=samples,
        )
        if not counters or load.streamed or not measurement.drawn:
            return measurement
        counters_after = await peer.counters()
        means = {
            name: (counters_after[name] - counters[name]) / len(measurement.drawn)
            for name in counters
        }
        return replace(measurement, hops=peer.hops(means, measurement))

    async def _apply(self, draw: DrawFunction, load: Load, number: int) -> Sequence[Sample]:
        """Sends the same requests to every peer in a round, and others in the next round."""
        steps = self.plan.mix if load.mixed else (self.plan.steps,)
        if load.clients:
            requests = random_requests([number, load.clients, load.streamed], steps)
            return await closed_loop(draw, requests, load.clients, load.seconds)
        rate = self.results.capacity() * load.percent / 100
        return await open_loop(
            draw, poisson_requests([number, load.percent], steps, rate, load.seconds)
        )

    def _reference_request(self) -> GenerationRequest:
        return GenerationRequest(
            "a large yellow star on a black background", seed=7, steps=self.plan.steps
        )

    def _show_progress(self, session: PeerSession, activity: str) -> None:
        round_of = f"round {session.round + 1}/{self.plan.rounds}"
        self.progress.update(
            self.task, description=f"{round_of}  {self.peers[session.peer].label}  {activity}"
        )


def difference(pngs: Sequence[bytes]) -> int:
    """Returns the largest difference (0 to 255) between the first picture and any other."""
    pictures = [np.asarray(from_png(png)).astype(int) for png in pngs]
    return max(int(np.abs(pictures[0] - other).max()) for other in pictures[1:])

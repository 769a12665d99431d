"""What a run must show. A goal is told, with its figure, met or not; nothing is asserted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.loads.samples import Cell, Summary
from benchmarks.measurement.results import Groups, Labels


@dataclass(frozen=True)
class Goal:
    """Ours over theirs, of one figure under one load."""

    name: str
    load: str
    peer: str
    figure: Callable[[Summary], float]
    limit: float
    at_most: bool

    def text(self, labels: Labels) -> str:
        return f"{self.load}: our {self.name} beside {labels[self.peer]}"

    @property
    def bound(self) -> str:
        return f"{'≤' if self.at_most else '≥'} {self.limit:.2f}×"

    def met(self, ratio: float) -> bool:
        return ratio <= self.limit if self.at_most else ratio >= self.limit


@dataclass(frozen=True)
class Verdict:
    """ratio: over all rounds; spread: the lowest and the highest of a single round."""

    goal: Goal
    ratio: float
    spread: tuple[float, float]

    @property
    def met(self) -> bool:
        return self.goal.met(self.ratio)

    def line(self, labels: Labels) -> str:
        low, high = self.spread
        return (
            f"{'pass' if self.met else 'FAIL'}  {self.goal.text(labels)}: {self.ratio:.2f}× "
            f"(goal {self.goal.bound}; rounds {low:.2f} to {high:.2f})"
        )


GOALS = (
    Goal(
        name="median latency",
        load="1 client",
        peer="one_process",
        figure=lambda summary: summary.p50,
        limit=0.7,
        at_most=True,
    ),
    Goal(
        name="pictures a second",
        load="16 clients",
        peer="serve",
        figure=lambda summary: summary.per_second,
        limit=3.0,
        at_most=False,
    ),
    Goal(
        name="pictures a second",
        load="16 clients",
        peer="serve_batch",
        figure=lambda summary: summary.per_second,
        limit=1.0,
        at_most=False,
    ),
    Goal(
        name="p95",
        load="Poisson 80 %",
        peer="serve_batch",
        figure=lambda summary: summary.p95,
        limit=0.4,
        at_most=True,
    ),
)


def verdicts(groups: Groups) -> list[Verdict]:
    """Those for which both sides have been measured."""
    return [
        Verdict(goal, _ratio(goal, ours, theirs), _spread(goal, ours, theirs))
        for goal in GOALS
        if (ours := groups.get(("relay", goal.load)))
        and (theirs := groups.get((goal.peer, goal.load)))
    ]


def _ratio(goal: Goal, ours: Sequence[Cell], theirs: Sequence[Cell]) -> float:
    return goal.figure(Summary.of(ours)) / (goal.figure(Summary.of(theirs)) or float("nan"))


def _spread(goal: Goal, ours: Sequence[Cell], theirs: Sequence[Cell]) -> tuple[float, float]:
    rounds = {cell.round: cell for cell in theirs}
    ratios = [_ratio(goal, [cell], [rounds[cell.round]]) for cell in ours if cell.round in rounds]
    return (min(ratios), max(ratios)) if ratios else (float("nan"), float("nan"))

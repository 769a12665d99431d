"""The goals of a run. A report tells whether each is met; a goal that is not met fails nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.load.samples import Measurement, Summary
from benchmarks.measurement.results import Groups, Labels


@dataclass(frozen=True)
class Goal:
    """A limit for the ratio of our figure to a peer's, under one load."""

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
    """A goal with its figures. ratio: over all rounds; spread: the lowest and highest round."""

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


def check_goals(groups: Groups) -> list[Verdict]:
    """Returns a verdict for each goal for which both sides were measured."""
    return [
        Verdict(goal, _ratio(goal, ours, theirs), _spread(goal, ours, theirs))
        for goal in GOALS
        if (ours := groups.get(("relay", goal.load)))
        and (theirs := groups.get((goal.peer, goal.load)))
    ]


def _ratio(goal: Goal, ours: Sequence[Measurement], theirs: Sequence[Measurement]) -> float:
    return goal.figure(Summary.of(ours)) / (goal.figure(Summary.of(theirs)) or float("nan"))


def _spread(
    goal: Goal, ours: Sequence[Measurement], theirs: Sequence[Measurement]
) -> tuple[float, float]:
    rounds = {measurement.round: measurement for measurement in theirs}
    ratios = [
        _ratio(goal, [measurement], [rounds[measurement.round]])
        for measurement in ours
        if measurement.round in rounds
    ]
    return (min(ratios), max(ratios)) if ratios else (float("nan"), float("nan"))

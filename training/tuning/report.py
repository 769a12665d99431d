"""What tuning did to old and new, as a table, a plot and JSON."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.tuning.measure import Losses

KINDS = ("old", "new")


@dataclass(frozen=True)
class Measured:
    """The losses on held-out pictures after so many steps."""

    step: int
    old: Losses
    new: Losses

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> "Measured":
        found = {
            kind: Losses(told[kind]["mean"], tuple(told[kind]["bands"]), told[kind]["classes"])
            for kind in KINDS
        }
        return cls(told["step"], found["old"], found["new"])

    def as_json(self) -> dict[str, Any]:
        return {"step": self.step, "old": self.old.as_json(), "new": self.new.as_json()}


def best(history: list[Measured], guard: float | None) -> Measured:
    """The point where the new is best, of those where the old is at most `guard` worse.

    guard: a share of the old's loss before tuning; None lets it be as bad as it is. The point
    before tuning is none to choose, unless no other stays within the guard.
    """
    limit = float("inf") if guard is None else history[0].old.mean * (1 + guard)
    allowed = [point for point in history[1:] if point.old.mean <= limit]
    return min(allowed, key=lambda point: point.new.mean) if allowed else history[0]


def table(history: list[Measured], chosen: Measured) -> str:
    """Markdown: before and at the chosen point, by timestep band and by class."""
    first = history[0]
    lines = ["| held-out loss | before | after | change |", "|---|--:|--:|--:|"]
    for kind in KINDS:
        before, after = getattr(first, kind), getattr(chosen, kind)
        rows = [(f"{kind}", before.mean, after.mean)]
        pairs = zip(before.bands, after.bands, strict=True)
        rows += [
            (f"{kind}, timesteps {n + 1}/{len(before.bands)}", *pair)
            for n, pair in enumerate(pairs)
        ]
        rows += [
            (f"{kind}, class {label}", before.classes[label], after.classes[label])
            for label in before.classes
            if len(before.classes) > 1
        ]
        lines += [f"| {name} | {a:.4f} | {b:.4f} | {b / a - 1:+.1%} |" for name, a, b in rows]
    return "\n".join(lines) + "\n"


def write(history: list[Measured], chosen: Measured, folder: Path) -> None:
    """tuning.json, tuning.md and tuning.png in the folder."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    told = {"chosen": chosen.step, "measured": [point.as_json() for point in history]}
    (folder / "tuning.json").write_text(json.dumps(told, indent=2) + "\n")
    (folder / "tuning.md").write_text(table(history, chosen))
    figure, axes = pyplot.subplots(figsize=(7, 4))
    steps = [point.step for point in history]
    for kind in KINDS:
        first = getattr(history[0], kind).mean
        changes = [100 * (getattr(point, kind).mean / first - 1) for point in history]
        axes.plot(steps, changes, marker="o", label=kind)
    axes.axvline(chosen.step, linestyle=":", color="grey", label="chosen")
    axes.set_xlabel("step")
    axes.set_ylabel("held-out loss against before, %")
    axes.legend()
    figure.tight_layout()
    figure.savefig(folder / "tuning.png", dpi=110)
    pyplot.close(figure)

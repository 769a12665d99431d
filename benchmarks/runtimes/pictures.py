"""What a runtime and a precision do to the pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.runtimes import work
from benchmarks.runtimes.child import Child, reason
from benchmarks.runtimes.drawing import Case, deviation, shares_right
from benchmarks.runtimes.plan import COMPILED, REFERENCE, Bench, Candidate
from benchmarks.runtimes.stages import Measured
from training.evaluate import sample_prompts

JUDGED = "openvino"  # stands for the other runtimes in its precisions: the judge takes long


@dataclass
class Drawn:
    """Pictures by one runtime in all stages, or in the UNet only. right: shares, where judged."""

    label: str
    stages: str
    reason: str = ""
    largest: int = 0
    share: float = 0.0
    right: dict[str, float] = field(default_factory=dict)
    files: list[bytes] = field(default_factory=list)

    def compare(self, reference: Sequence[bytes]) -> None:
        off = deviation(self.files, reference)
        self.largest, self.share = off.largest, off.share

    def to_json(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if key != "files"}


def by_unets(found: Sequence[Measured]) -> Iterator[Drawn]:
    """Beside the first's, which is eager float32."""
    for one in found:
        if one.files:
            drawn = Drawn(one.candidate.label, "UNet", files=one.files)
            drawn.compare(found[0].files or one.files)
            yield drawn


def by_all_stages(bench: Bench) -> list[Drawn]:
    """In one process after the other, until a candidate breaks it."""
    cases = sample_prompts(bench.plan.prompts)
    found: list[Drawn] = []
    child = Child(bench.plan.limit)
    for candidate in bench.plan.candidates("unet"):
        if candidate.runtime == COMPILED:
            continue
        drawn = Drawn(candidate.label, "all")
        found.append(drawn)
        try:
            _draw(bench, candidate, cases, child, drawn)
            drawn.compare(found[0].files or drawn.files)
        except Exception as failure:
            drawn.reason = reason(failure)
            child.close()
            child = Child(bench.plan.limit)
    child.close()
    return found


def _draw(
    bench: Bench, candidate: Candidate, cases: list[Case], child: Child, drawn: Drawn
) -> None:
    judged = candidate.runtime == JUDGED or candidate.label == REFERENCE
    asked = cases if judged else cases[: bench.plan.compared]
    prompts = [text for _, text in asked]
    runtime, precision = candidate.runtime, candidate.precision
    drawn.files = child(work.draw_with_all, bench, runtime, precision, prompts)
    drawn.right = shares_right(asked, drawn.files) if judged else {}

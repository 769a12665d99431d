"""Measures what a runtime and a precision change in the pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.runtimes import worker
from benchmarks.runtimes.drawing import Case, deviation, shares_right
from benchmarks.runtimes.plan import COMPILED, REFERENCE, Candidate, Setup
from benchmarks.runtimes.stages import CandidateResult
from benchmarks.runtimes.worker_process import WorkerProcess, reason
from training.evaluate import sample_prompts

JUDGED_RUNTIME = "openvino"  # stands for all runtimes in its precisions, since judging takes long


@dataclass
class PictureResult:
    """Pictures of one runtime in all stages, or in the UNet only, beside the reference's.

    largest, share: see Deviation; right: shares that the judge finds right, where it looked.
    reason: why there are no pictures.
    """

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


def by_unets(found: Sequence[CandidateResult]) -> Iterator[PictureResult]:
    """Compares the pictures of each UNet with those of the first, which is eager float32."""
    for one in found:
        if one.files:
            drawn = PictureResult(one.candidate.label, "UNet", files=one.files)
            drawn.compare(found[0].files or one.files)
            yield drawn


def by_all_stages(setup: Setup) -> list[PictureResult]:
    """Draws with each runtime in all stages. A candidate that fails gets the process replaced."""
    cases = sample_prompts(setup.plan.prompts)
    found: list[PictureResult] = []
    process = WorkerProcess(setup.plan.limit)
    for candidate in setup.plan.candidates("unet"):
        if candidate.runtime == COMPILED:
            continue
        drawn = PictureResult(candidate.label, "all")
        found.append(drawn)
        try:
            _draw(setup, candidate, cases, process, drawn)
            drawn.compare(found[0].files or drawn.files)
        except Exception as failure:
            drawn.reason = reason(failure)
            process.close()
            process = WorkerProcess(setup.plan.limit)
    process.close()
    return found


def _draw(
    setup: Setup,
    candidate: Candidate,
    cases: list[Case],
    process: WorkerProcess,
    drawn: PictureResult,
) -> None:
    judged = candidate.runtime == JUDGED_RUNTIME or candidate.label == REFERENCE
    chosen = cases if judged else cases[: setup.plan.compared]
    prompts = [text for _, text in chosen]
    runtime, precision = candidate.runtime, candidate.precision
    drawn.files = process(worker.draw_with_all, setup, runtime, precision, prompts)
    drawn.right = shares_right(chosen, drawn.files) if judged else {}

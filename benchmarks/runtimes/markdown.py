"""The tables of docs/runtimes.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.reports.tables import markdown_table
from benchmarks.runtimes.batch_sizes import MAX_ROWS, Padding, added_share, random_sizes
from benchmarks.runtimes.drawing import VISIBLE
from benchmarks.runtimes.pictures import PictureResult
from benchmarks.runtimes.plan import Plan
from benchmarks.runtimes.replicas import ROWS, Rate
from benchmarks.runtimes.stages import CandidateResult

GOAL_FLOAT32 = 2  # of 255, at most
GOAL_SHARE = 0.01  # of pixels in less than float32, at most
GOAL_POINTS = 1.0  # of the evaluation, lower at most
CALLS = (
    "One call: the best (the median), and the best beside that of torch/float32. Seconds to open "
    "it until its first answer, cold and with what is on disk; the peak of a process that did."
)
REPLICAS = f"The UNet, calls of {ROWS} rows: a replica is a process."


def miniature(
    plan: Plan,
    found: Mapping[str, Sequence[CandidateResult]],
    drawn: Sequence[PictureResult],
    rates: Sequence[Rate],
    paddings: Sequence[Padding],
) -> str:
    tables = "\n\n".join(stage(measured, plan.rows) for measured in found.values())
    goals = (
        f"{plan.steps} steps, {plan.compared} pictures. Goals: float32 within {GOAL_FLOAT32} of "
        f"255; the others with at most {GOAL_SHARE:.0%} of pixels off by more than {VISIBLE}."
    )
    judged = (
        f"What the judge finds right in {plan.prompts} pictures, all stages by one runtime. Goal: "
        f"not lower by more than {GOAL_POINTS:g} point."
    )
    return "\n\n".join(
        [
            *("### Stages", CALLS, tables),
            *("### Pictures", goals, pictures(drawn), judged, evaluation(drawn)),
            *("### Replicas on the same cores", REPLICAS, replicas(rates)),
            *("### Batch sizes that change", padding(paddings, random_sizes(plan.calls))),
        ]
    )


def stage(found: Sequence[CandidateResult], rows: Sequence[int]) -> str:
    """Returns the table of one stage. The first candidate is the reference of the others."""
    times = [f"{number} rows, ms" for number in rows]
    head = (found[0].candidate.stage, *times, "cold, s", "warm, s", "peak MB", "disk MB", "error")
    return markdown_table(head, [_stage_row(one, found[0], rows) for one in found])


def _stage_row(
    one: CandidateResult, reference: CandidateResult, rows: Sequence[int]
) -> tuple[str, ...]:
    if one.reason:
        return _failed(one.candidate.label, one.reason, len(rows) + 5)
    return (
        one.candidate.label,
        *(_call(one.times[number], reference.times.get(number, [])) for number in rows),
        *(f"{one.cold:.1f}", f"{one.warm:.1f}", f"{one.peak_mb:.0f}"),
        *(f"{one.disk_mb:.1f}" if one.disk_mb else "–", f"{one.error:.0e}"),
    )


def _call(times: Sequence[float], reference: Sequence[float]) -> str:
    """Returns the best time (the median), and the ratio of the best times."""
    middle = sorted(times)[len(times) // 2]
    ratio = f", {min(times) / min(reference):.2f}×" if reference else ""
    return f"{1000 * min(times):.1f} ({1000 * middle:.1f}){ratio}"


def pictures(drawn: Sequence[PictureResult]) -> str:
    head = ("", "in", "largest, of 255", f"pixels off by more than {VISIBLE}", "goal")
    return markdown_table(head, [_picture_row(one) for one in drawn], texts=2)


def _picture_row(one: PictureResult) -> tuple[str, ...]:
    if one.reason:
        return _failed(one.label, one.reason, 4)
    met = "met" if is_close(one) else "**not met**"
    return one.label, one.stages, str(one.largest), f"{one.share:.2%}", met


def is_close(one: PictureResult) -> bool:
    if one.label.endswith("float32"):
        return one.largest <= GOAL_FLOAT32
    return one.share <= GOAL_SHARE


def evaluation(drawn: Sequence[PictureResult]) -> str:
    judged = [one for one in drawn if one.right]
    if not judged:
        return "Nothing could be drawn."
    keys = list(judged[0].right)
    rows = []
    for one in judged:
        points = 100 * (one.right["all"] - judged[0].right["all"])
        met = "met" if points >= -GOAL_POINTS else "**not met**"
        shares = (f"{one.right[key]:.1%}" for key in keys)
        rows.append((one.label, *shares, f"{points:+.1f}", met))
    text = markdown_table(("", *keys, "points", "goal"), rows)
    return f"{text}\n\nA row for each of these lines, the same seeds:\n\n![The strip](runtimes.png)"


def replicas(found: Sequence[Rate]) -> str:
    rows = [
        (one.label, str(one.replicas), str(one.threads), one.reason or f"{one.rows:.1f}")
        for one in found
    ]
    return markdown_table(("", "replicas", "threads of each", "rows/s"), rows)


def padding(found: Sequence[Padding], sizes: Sequence[int]) -> str:
    rows = []
    for one in found:
        kind = "padded" if one.pads else "exact"
        figures = (one.reason, "") if one.reason else (f"{one.first:.1f}", f"{one.warm:.1f}")
        rows.append((one.label, kind, *figures))
    head = ("", "rows", "first, ms a row", "warm, ms a row")
    more = f"{added_share(sizes):.0%}"
    text = f"{len(sizes)} calls of 1 to {MAX_ROWS} rows; padding makes {more} more of them."
    return f"{text}\n\n{markdown_table(head, rows, texts=2)}"


def _failed(label: str, reason: str, columns: int) -> tuple[str, ...]:
    return (label, reason, *[""] * (columns - 1))

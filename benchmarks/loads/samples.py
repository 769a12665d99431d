"""What is measured of each picture, and what is said of many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import numpy as np

MODELS = ("text_encoder", "unet", "vae_decoder")
DIGITS = 4  # of a second: a tenth of a millisecond


@dataclass(frozen=True)
class Sample:
    """One picture; all times in seconds from the moment it was due.

    spans: how long it computed in each of the three models, and how long it waited in queues.
    """

    at: float
    steps: int
    latency: float
    wait: float = 0.0
    preview: float | None = None
    spans: Mapping[str, float] = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True)
class Cell:
    """One load on one peer in one round.

    seconds: from the first wish to the last picture; cpu_seconds: what the peer's processes used;
    others: how many cores were busy with what is no part of this; hops: mean seconds a picture
    between the stages, where the peer can tell.
    """

    peer: str
    load: str
    round: int
    seconds: float
    cpu_seconds: float
    samples: Sequence[Sample]
    hops: Mapping[str, float] = field(default_factory=dict)
    others: float = 0.0

    @property
    def drawn(self) -> list[Sample]:
        return [sample for sample in self.samples if not sample.error]

    def to_json(self) -> dict[str, Any]:
        """Samples as columns, which is shorter."""
        samples = [asdict(sample) for sample in self.samples]
        columns = {field.name: [s[field.name] for s in samples] for field in fields(Sample)}
        cell: dict[str, Any] = _rounded(asdict(replace(self, samples=())))
        return {**cell, "samples": _rounded(columns)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Cell:
        columns = data["samples"]
        rows = zip(*columns.values(), strict=True)
        samples = [Sample(**dict(zip(columns, row, strict=True))) for row in rows]
        return cls(**{**data, "samples": samples})


@dataclass(frozen=True)
class Summary:
    """Of all rounds of a load; times in seconds, cost in CPU seconds a picture."""

    pictures: int
    failed: int
    per_second: float
    p50: float
    p95: float
    p99: float
    wait_p50: float
    wait_p95: float
    preview_p50: float
    preview_p95: float
    cost: float

    @classmethod
    def of(cls, cells: Sequence[Cell]) -> Summary:
        """Cells without a single picture give infinite latencies, and no pictures a second."""
        drawn = [sample for cell in cells for sample in cell.drawn]
        pictures = len(drawn)
        latencies = [sample.latency for sample in drawn]
        waits = [sample.wait for sample in drawn]
        previews = [sample.preview for sample in drawn if sample.preview is not None]
        return cls(
            pictures=pictures,
            failed=sum(len(cell.samples) for cell in cells) - pictures,
            per_second=pictures / (sum(cell.seconds for cell in cells) or 1.0),
            p50=percentile(latencies, 50),
            p95=percentile(latencies, 95),
            p99=percentile(latencies, 99),
            wait_p50=percentile(waits, 50),
            wait_p95=percentile(waits, 95),
            preview_p50=percentile(previews, 50),
            preview_p95=percentile(previews, 95),
            cost=sum(cell.cpu_seconds for cell in cells) / (pictures or 1),
        )


def percentile(values: Sequence[float], q: float) -> float:
    return float(np.percentile(values, q)) if values else float("inf")


def mean_spans(cells: Sequence[Cell]) -> dict[str, float]:
    """Where the seconds of an average picture went; `outside` is what no model and no queue had."""
    drawn = [sample for cell in cells for sample in cell.drawn]
    names = dict.fromkeys(name for sample in drawn for name in sample.spans)
    spans = {
        name: float(np.mean([sample.spans.get(name, 0.0) for sample in drawn])) for name in names
    }
    latency = float(np.mean([sample.latency for sample in drawn])) if drawn else 0.0
    return {**spans, "outside": latency - sum(spans.values())}


def mean_hops(cells: Sequence[Cell]) -> dict[str, float]:
    names = dict.fromkeys(name for cell in cells for name in cell.hops)
    return {
        name: float(np.mean([cell.hops[name] for cell in cells if name in cell.hops]))
        for name in names
    }


def outside_share(spans: Mapping[str, float]) -> float:
    """Of a picture's time, the part that was spent neither in a model nor in a queue."""
    return spans["outside"] / (sum(spans.values()) or 1.0)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, DIGITS)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return value

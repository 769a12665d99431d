"""What is measured of each picture (Sample) and each load (Measurement), and their Summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import numpy as np

MODELS = ("text_encoder", "unet", "vae_decoder")
DIGITS = 4  # of a second: a tenth of a millisecond


@dataclass(frozen=True)
class Sample:
    """One picture. All times are seconds from the moment when it was due.

    at: when it was due, from the start of the load; wait: until its first step.
    spans: how long each of the three models computed, and how long it waited in queues.
    """

    at: float
    steps: int
    latency: float
    wait: float = 0.0
    preview: float | None = None
    spans: Mapping[str, float] = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True)
class Measurement:
    """One load on one peer in one round.

    seconds: from the first request to the last picture; cpu_seconds: of the peer's processes.
    others: how many cores other programs kept busy.
    hops: mean seconds a picture between the stages, for peers that count them.
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
        """Returns samples as columns, which takes less space than rows."""
        samples = [asdict(sample) for sample in self.samples]
        columns = {field.name: [s[field.name] for s in samples] for field in fields(Sample)}
        measurement: dict[str, Any] = _rounded(asdict(replace(self, samples=())))
        return {**measurement, "samples": _rounded(columns)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Measurement:
        columns = data["samples"]
        rows = zip(*columns.values(), strict=True)
        samples = [Sample(**dict(zip(columns, row, strict=True))) for row in rows]
        return cls(**{**data, "samples": samples})


@dataclass(frozen=True)
class Summary:
    """All rounds of one load on one peer. Times are seconds, cost is CPU seconds a picture."""

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
    def of(cls, measurements: Sequence[Measurement]) -> Summary:
        """Without a single picture, latencies are infinite and pictures a second are 0."""
        drawn = [sample for measurement in measurements for sample in measurement.drawn]
        pictures = len(drawn)
        latencies = [sample.latency for sample in drawn]
        waits = [sample.wait for sample in drawn]
        previews = [sample.preview for sample in drawn if sample.preview is not None]
        return cls(
            pictures=pictures,
            failed=sum(len(measurement.samples) for measurement in measurements) - pictures,
            per_second=pictures / (sum(measurement.seconds for measurement in measurements) or 1.0),
            p50=percentile(latencies, 50),
            p95=percentile(latencies, 95),
            p99=percentile(latencies, 99),
            wait_p50=percentile(waits, 50),
            wait_p95=percentile(waits, 95),
            preview_p50=percentile(previews, 50),
            preview_p95=percentile(previews, 95),
            cost=sum(measurement.cpu_seconds for measurement in measurements) / (pictures or 1),
        )


def percentile(values: Sequence[float], q: float) -> float:
    """Returns the percentile `q` (0 to 100), infinity for no values."""
    return float(np.percentile(values, q)) if values else float("inf")


def mean_spans(measurements: Sequence[Measurement]) -> dict[str, float]:
    """Returns the mean seconds by model and queue; `outside` is the rest of the mean latency."""
    drawn = [sample for measurement in measurements for sample in measurement.drawn]
    names = dict.fromkeys(name for sample in drawn for name in sample.spans)
    spans = {
        name: float(np.mean([sample.spans.get(name, 0.0) for sample in drawn])) for name in names
    }
    latency = float(np.mean([sample.latency for sample in drawn])) if drawn else 0.0
    return {**spans, "outside": latency - sum(spans.values())}


def mean_hops(measurements: Sequence[Measurement]) -> dict[str, float]:
    """Returns the mean seconds of each hop over all rounds."""
    names = dict.fromkeys(name for measurement in measurements for name in measurement.hops)
    return {
        name: float(
            np.mean(
                [measurement.hops[name] for measurement in measurements if name in measurement.hops]
            )
        )
        for name in names
    }


def outside_share(spans: Mapping[str, float]) -> float:
    """Returns the share of a picture's time that was spent neither in a model nor in a queue."""
    return spans["outside"] / (sum(spans.values()) or 1.0)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, DIGITS)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return value

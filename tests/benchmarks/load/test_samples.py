"""Figures of many samples."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.load.samples import Summary, mean_spans, outside_share, percentile
from benchmarks.reports import plots
from tests.support.benchmark_peers import measurement_of


def test_percentiles_are_numpys_and_of_nothing_infinite() -> None:
    values = [3.0, 1.0, 2.0]
    assert percentile(values, 50) == 2.0
    assert percentile(values, 95) == pytest.approx(np.percentile(values, 95))
    assert percentile([], 95) == float("inf")


def test_a_summary_pools_the_rounds() -> None:
    measurements = [
        measurement_of("relay", "1 client", [1.0, 2.0], 3.0),
        measurement_of("relay", "1 client", [3.0], 3.0, 1),
    ]
    summary = Summary.of(measurements)
    assert (summary.pictures, summary.p50, summary.wait_p50) == (3, 2.0, 1.0)
    assert summary.per_second == 0.5
    assert summary.cost == 2.0


def test_what_no_model_and_no_queue_had_is_outside() -> None:
    spans = mean_spans([measurement_of("serve", "1 client", [1.0, 1.0], 2.0)])
    assert spans["outside"] == pytest.approx(0.1)
    assert outside_share(spans) == pytest.approx(0.1)
    assert plots.segments(spans)["waiting"] == pytest.approx(0.2)

"""The goals of a run."""

from __future__ import annotations

import pytest

from benchmarks.measurement.goals import check_goals
from tests.support.benchmark_peers import LABELS, measurement_of


def test_goals_compare_ours_with_theirs() -> None:
    groups = {
        ("relay", "1 client"): [measurement_of("relay", "1 client", [0.65], 1.0)],
        ("one_process", "1 client"): [measurement_of("one_process", "1 client", [1.0], 1.0)],
        ("relay", "16 clients"): [measurement_of("relay", "16 clients", [1.0] * 15, 10.0)],
        ("serve", "16 clients"): [measurement_of("serve", "16 clients", [1.0] * 10, 10.0)],
        ("relay", "Poisson 80 %"): [measurement_of("relay", "Poisson 80 %", [1.0], 1.0, 0)],
        ("serve_batch", "Poisson 80 %"): [
            measurement_of("serve_batch", "Poisson 80 %", [4.0], 1.0, 0)
        ],
    }
    found = {verdict.goal.peer: verdict for verdict in check_goals(groups)}
    assert found["one_process"].met
    assert not found["serve"].met
    assert found["serve"].ratio == pytest.approx(1.5)
    assert found["serve_batch"].met
    assert found["serve_batch"].spread == (0.25, 0.25)
    assert found["serve"].line(LABELS).startswith("FAIL  16 clients: our pictures a second")

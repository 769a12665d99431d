from __future__ import annotations

import pytest

from ray_stages.denoising import row_limit


class Device:
    """Takes `fixed` seconds and `a_row` more for each row, on a fake clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fixed: float, a_row: float) -> None:
        self.now, self.fixed, self.a_row = 0.0, fixed, a_row
        self.max_rows = 10_000
        self.called: list[int] = []
        monkeypatch.setattr("time.perf_counter", lambda: self.now)
        monkeypatch.setattr("time.monotonic", lambda: self.now)

    def compute(self, rows: int) -> None:
        if rows > self.max_rows:
            raise RuntimeError("out of memory")
        self.called.append(rows)
        self.now += self.fixed + self.a_row * rows


def test_without_gain_the_limit_is_the_minimum(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device(monkeypatch, fixed=0.0, a_row=0.001)
    assert row_limit.measure(device.compute) == row_limit.MIN_LIMIT


def test_a_disturbed_call_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device(monkeypatch, fixed=0.01, a_row=0.0001)
    calm = row_limit.measure(device.compute)
    disturbed = Device(monkeypatch, fixed=0.01, a_row=0.0001)
    calls = iter(range(1000))

    def compute(rows: int) -> None:
        disturbed.compute(rows)
        disturbed.now += 0.05 * (next(calls) % 3 == 1)

    assert row_limit.measure(compute) == calm


def test_the_limit_grows_with_the_gain(monkeypatch: pytest.MonkeyPatch) -> None:
    some = row_limit.measure(Device(monkeypatch, fixed=0.004, a_row=0.002).compute)
    many = row_limit.measure(Device(monkeypatch, fixed=0.01, a_row=0.0001).compute)
    assert 8 <= some <= 64
    assert many == row_limit.ROWS[-1]


def test_memory_bounds_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device(monkeypatch, fixed=0.01, a_row=0.0001)
    device.max_rows = 20
    assert row_limit.measure(device.compute) == 16


def test_a_slow_device_is_not_measured_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device(monkeypatch, fixed=0.0, a_row=1.0)
    assert row_limit.measure(device.compute) == 2
    assert device.now <= 2 * row_limit.BUDGET_SECONDS

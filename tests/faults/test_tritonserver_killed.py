"""kill -9 of tritonserver: its connections break, and new ones are refused until it is back."""

from __future__ import annotations

from tests.faults.scenario import FaultScenario


def test_tritonserver_killed(scenario: FaultScenario) -> None:
    (server,) = [p for p in scenario.stack.processes() if p.name() == "tritonserver"]
    scenario.survive("`tritonserver` killed", server.kill, refuses=True)

"""kill -9 of Serve's controller: the bridges know their replicas without it, so nothing fails."""

from __future__ import annotations

from tests.faults.scenario import FaultScenario


def test_controller_killed(scenario: FaultScenario) -> None:
    (controller,) = scenario.stack.processes("ServeController")
    scenario.survive("Serve's controller killed", controller.kill)

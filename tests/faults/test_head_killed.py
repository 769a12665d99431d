"""kill -9 of Ray's head (the GCS): Ray and all stages are started again.

Requests need not survive this, but each must be refused clearly, and the stack must recover.
"""

from __future__ import annotations

from tests.faults.scenario import FaultScenario


def test_head_killed(scenario: FaultScenario) -> None:
    (head,) = scenario.stack.processes("gcs_server")
    scenario.survive("Ray's head killed", head.kill, refuses=True)

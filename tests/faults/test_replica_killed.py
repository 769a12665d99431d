"""kill -9 of a replica of each stage: no request fails, because each is tried again elsewhere."""

from __future__ import annotations

import pytest

from tests.faults.scenario import FaultScenario
from tests.support.stacks import STAGES


@pytest.mark.parametrize("stage", STAGES)
def test_replica_killed(scenario: FaultScenario, stage: str) -> None:
    scenario.survive(f"a replica of `{stage}` killed", scenario.stack.replica(stage).kill)

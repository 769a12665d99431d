"""kill -9 of the stub of each model: Triton does not restart it, so the launcher restarts Triton.

Requests in flight, and those of the seconds until Triton is back, are refused clearly.
"""

from __future__ import annotations

import pytest

from tests.faults.scenario import FaultScenario
from tests.support.paths import ROOT

MODELS = sorted(path.parent.parent.name for path in ROOT.glob("model_repository/*/1/model.py"))


@pytest.mark.parametrize("model", MODELS)
def test_stub_killed(scenario: FaultScenario, model: str) -> None:
    (stub,) = scenario.stack.processes(f"model_repository/{model}/1/model.py")
    scenario.survive(f"the stub of `{model}` killed", stub.kill, refuses=True)

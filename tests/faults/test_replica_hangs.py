"""SIGSTOP of a replica: it keeps its connections open, and answers nothing.

Serve's health checks fail, so Serve ends it and starts another. Its requests are tried again there;
those whose deadline passes before that are refused.
"""

from __future__ import annotations

import pytest

from tests.faults.scenario import FaultScenario


@pytest.mark.parametrize("stage", ["unet", "vae_decoder"])
def test_replica_hangs(scenario: FaultScenario, stage: str) -> None:
    scenario.survive(
        f"a replica of `{stage}` stopped", scenario.stack.replica(stage).suspend, refuses=True
    )

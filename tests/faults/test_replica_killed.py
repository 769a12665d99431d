"""kill -9 of a replica of each stage: no request fails, since each is tried again elsewhere."""

from __future__ import annotations

import pytest

from tests.faults.scene import Scene
from tests.support.stacks import STAGES


@pytest.mark.parametrize("stage", STAGES)
def test_replica_killed(scene: Scene, stage: str) -> None:
    scene.suffer(f"a replica of `{stage}` killed", scene.stack.replica(stage).kill)

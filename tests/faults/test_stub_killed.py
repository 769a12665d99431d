"""kill -9 of the stub of each model: Triton does not restart it, so the launcher restarts Triton.

What was in flight is refused clearly, and so is what comes in the seconds until it is back.
"""

from __future__ import annotations

import pytest

from tests.faults.scene import Scene
from tests.support.paths import ROOT

MODELS = sorted(path.parent.parent.name for path in ROOT.glob("model_repository/*/1/model.py"))


@pytest.mark.parametrize("model", MODELS)
def test_stub_killed(scene: Scene, model: str) -> None:
    (stub,) = scene.stack.processes(f"model_repository/{model}/1/model.py")
    scene.suffer(f"the stub of `{model}` killed", stub.kill, refuses=True)

"""SIGSTOP of a replica: it holds its connections, and answers nothing.

Serve's health checks miss it, end it, and start another; its requests are tried again there. Those
whose deadline passes before are told so.
"""

from __future__ import annotations

import pytest

from tests.faults.scene import Scene


@pytest.mark.parametrize("stage", ["unet", "vae_decoder"])
def test_replica_hangs(scene: Scene, stage: str) -> None:
    scene.suffer(
        f"a replica of `{stage}` stopped", scene.stack.replica(stage).suspend, refuses=True
    )

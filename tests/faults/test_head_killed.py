"""kill -9 of Ray's head (the GCS): Ray and all stages start anew.

Promised is not that requests survive it, but that each is told, and that all comes back by itself.
"""

from __future__ import annotations

from tests.faults.scene import Scene


def test_head_killed(scene: Scene) -> None:
    (head,) = scene.stack.processes("gcs_server")
    scene.suffer("Ray's head killed", head.kill, refuses=True)

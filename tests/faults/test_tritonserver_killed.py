"""kill -9 of tritonserver: its connections break, and new ones are refused until it is back."""

from __future__ import annotations

from tests.faults.scene import Scene


def test_tritonserver_killed(scene: Scene) -> None:
    (server,) = [p for p in scene.stack.processes() if p.name() == "tritonserver"]
    scene.suffer("`tritonserver` killed", server.kill, refuses=True)

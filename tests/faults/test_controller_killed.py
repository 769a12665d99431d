"""kill -9 of Serve's controller: bridges know their replicas without it; nobody notices."""

from __future__ import annotations

from tests.faults.scene import Scene


def test_controller_killed(scene: Scene) -> None:
    (controller,) = scene.stack.processes("ServeController")
    scene.suffer("Serve's controller killed", controller.kill)

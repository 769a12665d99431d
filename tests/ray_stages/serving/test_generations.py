"""The current generation and the roll-out; tests/cluster has the roll-out under load."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray import exceptions
from ray.serve.exceptions import RayServeException
from ray.serve.schema import ApplicationStatus

from ray_stages.bridge.stage_handles import StageHandles
from ray_stages.errors import InvalidRequest
from ray_stages.serving.generations import (
    GenerationRegistry,
    app_name,
    generation_name,
    serving_generations,
)
from ray_stages.serving.rollout import can_go_live
from ray_stages.settings import ROOT, STAGES, Settings, UNetSettings


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr("ray_stages.serving.generations.time.monotonic", lambda: clock.seconds)
    return clock


def fake_application(status: str, time: float) -> Any:
    """Serve's overview of an application."""
    states: dict[str, int] | None = {
        "NEW": None,
        "RUNNING": {"RUNNING": 2},
        "WAITING": {"RUNNING": 1, "STARTING": 1},
        "DEPLOYING": {"STARTING": 2},
    }[status]
    deployments = {"one": SimpleNamespace(replica_states=states, message="")} if states else {}
    return SimpleNamespace(
        status=ApplicationStatus.RUNNING if status == "RUNNING" else ApplicationStatus.DEPLOYING,
        last_deployed_time_s=time,
        deployments=deployments,
        message="",
    )


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets what Serve reports: the status of each generation, in the order of deployment.

    NEW has no deployment yet, DEPLOYING no replica, WAITING has one of two replicas.
    """
    applications: dict[str, Any] = {}

    def deploy(**stage_statuses: str) -> None:
        for time, (generation, status) in enumerate(stage_statuses.items()):
            for stage in STAGES:
                applications[app_name(stage, generation)] = fake_application(status, time)

    status = SimpleNamespace(applications=applications)
    monkeypatch.setattr("ray_stages.serving.generations.serve.status", lambda: status)
    applications["somebody-else"] = fake_application("RUNNING", 9)
    return deploy


def test_the_name_depends_on_what_is_deployed_and_on_nothing_else(tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(ROOT / "models" / "miniature-sd", model)
    name = generation_name(Settings(model=str(model)))
    assert name == generation_name(
        Settings(model=str(model), http_port=1, run_dir=Path("/elsewhere"))
    )
    assert name != generation_name(Settings(model=str(model), unet=UNetSettings(replicas=2)))
    weights = next((model / "unet").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    assert name != generation_name(Settings(model=str(model)))


def test_the_latest_complete_generation_comes_last(deployed: Callable[..., None]) -> None:
    assert serving_generations() == []
    deployed(first="WAITING", old="RUNNING", new="RUNNING", newer="WAITING", newest="DEPLOYING")
    assert serving_generations() == ["first", "newer", "old", "new"]


def test_one_replica_of_each_is_enough_if_nothing_else_serves(
    deployed: Callable[..., None],
) -> None:
    """The other replicas may wait for a node; clients need not."""
    for unready in ("NEW", "DEPLOYING"):
        deployed(new=unready)
        assert not can_go_live("new")
    deployed(new="WAITING")
    assert can_go_live("new")
    deployed(old="RUNNING", new="WAITING")
    assert not can_go_live("new")
    deployed(old="RUNNING", new="RUNNING")
    assert can_go_live("new")


def test_a_restarted_registry_asks_serve(
    deployed: Callable[..., None], now: SimpleNamespace
) -> None:
    registry = GenerationRegistry()
    assert registry.report("bridge", []) == ""
    deployed(old="RUNNING")
    assert registry.report("bridge", []) == ""  # it has just asked Serve
    now.seconds += 2
    assert registry.report("bridge", []) == "old"


def test_a_generation_in_use_is_not_idle(
    deployed: Callable[..., None], now: SimpleNamespace
) -> None:
    registry = GenerationRegistry()
    registry.report("bridge", ["old"])
    now.seconds += 10
    assert registry.idle_seconds("old") == 10
    assert registry.idle_seconds("unheard of") == 10  # since the registry started
    registry.set_current("new")
    assert registry.idle_seconds("old") == 0  # bridges may not know the new one yet
    assert registry.current() == "new"


def test_bridges_that_stopped_reporting_are_not_counted(now: SimpleNamespace) -> None:
    registry = GenerationRegistry()
    registry._current = "old"
    registry.report("first", [])
    now.seconds += 4
    registry.report("second", [])
    assert registry.bridge_count() == 2
    now.seconds += 2
    assert registry.bridge_count() == 1


class FakeRegistry:
    """Stands for the actor's handle; `report` returns `current`, or raises it if it is an error."""

    def __init__(self) -> None:
        self.current: Any = ""
        self.reported: list[list[str]] = []
        self.lookups = 0
        self.report = SimpleNamespace(remote=self._report)

    def look_up(self) -> FakeRegistry:
        self.lookups += 1
        return self

    async def _report(self, bridge: str, in_use: list[str]) -> str:
        self.reported.append(in_use)
        if isinstance(self.current, Exception):
            raise self.current
        return str(self.current)


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> FakeRegistry:
    registry = FakeRegistry()

    async def card() -> str:
        return "card"

    def get_deployment_handle(stage: str, app_name: str) -> Any:
        if app_name == "unet-unknown":
            raise KeyError("no such deployment")
        if app_name == "unet-unheard-of":
            raise RayServeException("no such application")
        return SimpleNamespace(name=app_name, card=SimpleNamespace(remote=card))

    monkeypatch.setattr("ray_stages.bridge.stage_handles.generation_registry", registry.look_up)
    monkeypatch.setattr(
        "ray_stages.bridge.stage_handles.serve.get_deployment_handle", get_deployment_handle
    )
    return registry


def test_a_picture_stays_in_the_generation_in_which_it_began(registry: FakeRegistry) -> None:
    async def main() -> None:
        handles = StageHandles("unet")
        registry.current = "old"
        await handles._refresh()
        async with handles.use() as first:
            registry.current = "new"
            await handles._refresh()
            async with handles.use(first.generation) as later, handles.use() as other:
                assert (later.deployment.name, other.deployment.name) == ("unet-old", "unet-new")
                await handles._refresh()
        assert sorted(registry.reported[-1]) == ["new", "old"]
        await handles._refresh()
        assert registry.reported[-1] == []

    asyncio.run(main())


def test_without_the_actor_the_last_generation_stays_current(registry: FakeRegistry) -> None:
    async def main() -> None:
        handles = StageHandles("unet")
        assert not await handles._refresh()
        registry.current = "old"
        assert await handles._refresh()
        for silent in (exceptions.RayActorError(), ""):
            registry.current = silent
            assert await handles._refresh()
            async with handles.use() as handle:
                assert handle.generation == "old"

    asyncio.run(main())


def test_the_actor_is_looked_up_again_only_after_an_error(registry: FakeRegistry) -> None:
    """Each look-up costs memory, in the bridge and in Ray's head."""

    async def main() -> None:
        handles = StageHandles("unet")
        registry.current = "old"
        for _ in range(3):
            await handles._refresh()
        assert registry.lookups == 1
        registry.current = exceptions.RayActorError()
        await handles._refresh()
        await handles._refresh()
        assert registry.lookups == 2

    asyncio.run(main())


@pytest.mark.parametrize("name", ["unknown", "unheard-of", "../etc", "UPPER", "x" * 4000])
def test_a_generation_that_is_not_served_is_refused(registry: FakeRegistry, name: str) -> None:
    async def main() -> None:
        handles = StageHandles("unet")
        registry.current = "old"
        await handles._refresh()
        with pytest.raises(InvalidRequest, match=r"generation: got '\S{,40}', expected"):
            async with handles.use(name):
                pass
        await handles._refresh()
        assert registry.reported[-1] == []

    asyncio.run(main())

"""Which stages a new picture goes to; the whole of it under load is in tests/cluster."""

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

from ray_stages.bridge.stage_handles import Links
from ray_stages.errors import InvalidRequest
from ray_stages.serving.generations import Generations, app_name, name_of, serving
from ray_stages.serving.rollout import may_go_live
from ray_stages.settings import ROOT, STAGES, Settings


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr("ray_stages.serving.generations.time.monotonic", lambda: clock.seconds)
    return clock


def fact(status: str, time: float) -> Any:
    """What Serve says of an application."""
    states: dict[str, int] | None = {
        "BEGUN": None,
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
    """What Serve knows: status by generation, in the order of deployment.

    BEGUN has no deployment yet, DEPLOYING no replica, WAITING has one and wants another.
    """
    applications: dict[str, Any] = {}

    def deploy(**statuses: str) -> None:
        for time, (generation, status) in enumerate(statuses.items()):
            for stage in STAGES:
                applications[app_name(stage, generation)] = fact(status, time)

    status = SimpleNamespace(applications=applications)
    monkeypatch.setattr("ray_stages.serving.generations.serve.status", lambda: status)
    applications["somebody-else"] = fact("RUNNING", 9)
    return deploy


def test_the_name_is_that_of_what_is_deployed(tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(ROOT / "models" / "miniature-sd", model)
    name = name_of(Settings(model=str(model)))
    assert name == name_of(Settings(model=str(model), http_port=1, run_dir="/elsewhere"))
    assert name != name_of(Settings(model=str(model), unet_replicas=2))
    weights = next((model / "unet").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    assert name != name_of(Settings(model=str(model)))


def test_the_latest_that_runs_as_a_whole(deployed: Callable[..., None]) -> None:
    assert serving() == []
    deployed(first="WAITING", old="RUNNING", new="RUNNING", newer="WAITING", newest="DEPLOYING")
    assert serving() == ["first", "newer", "old", "new"]


def test_one_replica_of_each_is_enough_where_nothing_else_serves(
    deployed: Callable[..., None],
) -> None:
    """The others may wait for a node, and people need not wait for that."""
    for unready in ("BEGUN", "DEPLOYING"):
        deployed(new=unready)
        assert not may_go_live("new")
    deployed(new="WAITING")
    assert may_go_live("new")
    deployed(old="RUNNING", new="WAITING")
    assert not may_go_live("new")
    deployed(old="RUNNING", new="RUNNING")
    assert may_go_live("new")


def test_serve_still_knows_after_a_restart(
    deployed: Callable[..., None], now: SimpleNamespace
) -> None:
    registry = Generations()
    assert registry.meet("bridge", []) == ""
    deployed(old="RUNNING")
    assert registry.meet("bridge", []) == ""  # it has just looked
    now.seconds += 2
    assert registry.meet("bridge", []) == "old"


def test_one_that_is_in_use_is_not_idle(
    deployed: Callable[..., None], now: SimpleNamespace
) -> None:
    registry = Generations()
    registry.meet("bridge", ["old"])
    now.seconds += 10
    assert registry.idle_seconds("old") == 10
    assert registry.idle_seconds("unheard of") == 10  # since it listens
    registry.switch("new")
    assert registry.idle_seconds("old") == 0  # bridges may not have heard of the switch
    assert registry.current() == "new"


def test_bridges_that_are_gone_are_not_counted(now: SimpleNamespace) -> None:
    registry = Generations()
    registry._current = "old"
    registry.meet("first", [])
    now.seconds += 4
    registry.meet("second", [])
    assert registry.bridges() == 2
    now.seconds += 2
    assert registry.bridges() == 1


class Registry:
    """The actor's handle; `current` may be an error."""

    def __init__(self) -> None:
        self.current: Any = ""
        self.told: list[list[str]] = []
        self.found = 0
        self.meet = SimpleNamespace(remote=self._meet)

    def find(self) -> Registry:
        self.found += 1
        return self

    async def _meet(self, bridge: str, in_use: list[str]) -> str:
        self.told.append(in_use)
        if isinstance(self.current, Exception):
            raise self.current
        return str(self.current)


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    registry = Registry()

    async def card() -> str:
        return "card"

    def handle(stage: str, app_name: str) -> Any:
        if app_name == "unet-unknown":
            raise KeyError("no such deployment")
        if app_name == "unet-unheard-of":
            raise RayServeException("no such application")
        return SimpleNamespace(name=app_name, card=SimpleNamespace(remote=card))

    monkeypatch.setattr("ray_stages.bridge.stage_handles.registry", registry.find)
    monkeypatch.setattr("ray_stages.bridge.stage_handles.serve.get_deployment_handle", handle)
    return registry


def test_a_picture_stays_where_it_began(registry: Registry) -> None:
    async def scene() -> None:
        ways = Links("unet")
        registry.current = "old"
        await ways._meet()
        async with ways.to() as first:
            registry.current = "new"
            await ways._meet()
            async with ways.to(first.generation) as later, ways.to() as other:
                assert (later.handle.name, other.handle.name) == ("unet-old", "unet-new")
                await ways._meet()
        assert sorted(registry.told[-1]) == ["new", "old"]
        await ways._meet()
        assert registry.told[-1] == []

    asyncio.run(scene())


def test_without_the_actor_it_is_still_the_last(registry: Registry) -> None:
    async def scene() -> None:
        ways = Links("unet")
        assert not await ways._meet()
        registry.current = "old"
        assert await ways._meet()
        for silent in (exceptions.RayActorError(), ""):
            registry.current = silent
            assert await ways._meet()
            async with ways.to() as link:
                assert link.generation == "old"

    asyncio.run(scene())


def test_the_actor_is_looked_for_again_only_after_an_error(registry: Registry) -> None:
    """Each time costs memory, in the bridge and in Ray's head."""

    async def scene() -> None:
        ways = Links("unet")
        registry.current = "old"
        for _ in range(3):
            await ways._meet()
        assert registry.found == 1
        registry.current = exceptions.RayActorError()
        await ways._meet()
        await ways._meet()
        assert registry.found == 2

    asyncio.run(scene())


@pytest.mark.parametrize("name", ["unknown", "unheard-of", "../etc", "UPPER", "x" * 4000])
def test_a_client_cannot_name_what_is_not_served(registry: Registry, name: str) -> None:
    async def scene() -> None:
        ways = Links("unet")
        registry.current = "old"
        await ways._meet()
        with pytest.raises(InvalidRequest, match=r"generation: got '\S{,40}', expected"):
            async with ways.to(name):
                pass
        await ways._meet()
        assert registry.told[-1] == []

    asyncio.run(scene())

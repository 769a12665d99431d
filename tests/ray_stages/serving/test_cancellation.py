"""From the model `cancel` to the bridges, with the actor as a plain object."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ray_stages.errors import RequestCancelled
from ray_stages.serving import cancellation
from ray_stages.serving.cancellation import CancellableRequests, CancellationBroker


class Bridge:
    """Listens as `CancellableRequests.listen` does, but without Ray."""

    def __init__(self, name: str, broker: CancellationBroker) -> None:
        self.name, self.broker, self.requests = name, broker, CancellableRequests()

    async def listen(self) -> None:
        replies: dict[int, bool] = {}
        while True:
            orders = await self.broker.poll(self.name, replies)
            replies = {number: self.requests.cancel(request_id) for number, request_id in orders}

    async def work(self, request_id: str) -> str:
        try:
            with self.requests.track(request_id, accepted_before=False):
                await asyncio.sleep(60)
        except asyncio.CancelledError:
            return "cancelled"
        return "done"


async def two_bridges() -> tuple[CancellationBroker, list[Bridge], list[asyncio.Task[Any]]]:
    broker = CancellationBroker()
    bridges = [Bridge("first", broker), Bridge("second", broker)]
    listening = [asyncio.create_task(bridge.listen()) for bridge in bridges]
    await asyncio.sleep(0.01)
    return broker, bridges, listening


def test_only_the_named_request_is_cancelled() -> None:
    async def main() -> None:
        broker, (_, second), listening = await two_bridges()
        unwanted = asyncio.create_task(second.work("a"))
        wanted = asyncio.create_task(second.work("b"))
        await asyncio.sleep(0.01)
        assert await broker.cancel("a") is True
        assert await asyncio.wait_for(unwanted, 1) == "cancelled"
        assert not wanted.done()
        assert await broker.cancel("a") is False
        assert await broker.cancel("nobody's") is False
        assert await broker.cancel("b") is True
        for task in (wanted, *listening):
            task.cancel()

    asyncio.run(main())


def test_a_bridge_that_does_not_reply_does_not_delay_cancel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cancellation, "REPLY_TIMEOUT_SECONDS", 0.05)

    async def main() -> None:
        broker, _, listening = await two_bridges()
        listening[0].cancel()
        assert await asyncio.wait_for(broker.cancel("a"), 1) is False
        monkeypatch.setattr(cancellation, "POLL_SECONDS", 0)
        assert await broker.cancel("a") is False
        assert broker._orders == {}
        assert broker._replies == {}
        listening[1].cancel()

    asyncio.run(main())


def test_a_request_cancelled_between_two_stages_is_refused_by_the_next_and_a_new_one_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        requests = CancellableRequests()
        assert requests.cancel("a") is False
        with pytest.raises(RequestCancelled), requests.track("a", accepted_before=True):
            pass
        with requests.track("a", accepted_before=False):
            pass
        monkeypatch.setattr(cancellation, "REMEMBER_SECONDS", -1)
        requests.cancel("a")
        with requests.track("a", accepted_before=True):
            pass

    asyncio.run(main())

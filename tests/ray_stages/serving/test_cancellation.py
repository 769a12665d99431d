"""The word from `cancel` to the bridges, with the actor as a plain object."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ray_stages.errors import RequestCancelled
from ray_stages.serving import cancellation
from ray_stages.serving.cancellation import CancellableCalls, Cancellations


class Bridge:
    """Hears and obeys, as `CancellableCalls.obey` does through Ray."""

    def __init__(self, name: str, channel: Cancellations) -> None:
        self.name, self.channel, self.calls = name, channel, CancellableCalls()

    async def obey(self) -> None:
        answers: dict[int, bool] = {}
        while True:
            notes = await self.channel.listen(self.name, answers)
            answers = {number: self.calls.cancel(request_id) for number, request_id in notes}

    async def work(self, request_id: str) -> str:
        try:
            with self.calls.call(request_id, accepted_before=False):
                await asyncio.sleep(60)
        except asyncio.CancelledError:
            return "cancelled"
        return "done"


async def two_bridges() -> tuple[Cancellations, list[Bridge], list[asyncio.Task[Any]]]:
    channel = Cancellations()
    bridges = [Bridge("first", channel), Bridge("second", channel)]
    listening = [asyncio.create_task(bridge.obey()) for bridge in bridges]
    await asyncio.sleep(0.01)
    return channel, bridges, listening


def test_only_the_request_that_is_named_ends() -> None:
    async def main() -> None:
        channel, (_, second), listening = await two_bridges()
        unwanted = asyncio.create_task(second.work("a"))
        wanted = asyncio.create_task(second.work("b"))
        await asyncio.sleep(0.01)
        assert await channel.cancel("a") is True
        assert await asyncio.wait_for(unwanted, 1) == "cancelled"
        assert not wanted.done()
        assert await channel.cancel("a") is False
        assert await channel.cancel("nobody's") is False
        assert await channel.cancel("b") is True
        for task in (wanted, *listening):
            task.cancel()

    asyncio.run(main())


def test_a_bridge_that_is_silent_does_not_hold_it_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cancellation, "ANSWER_SECONDS", 0.05)

    async def main() -> None:
        channel, _, listening = await two_bridges()
        listening[0].cancel()
        assert await asyncio.wait_for(channel.cancel("a"), 1) is False
        monkeypatch.setattr(cancellation, "POLL_SECONDS", 0)
        assert await channel.cancel("a") is False
        assert channel._notes == {}
        assert channel._answers == {}
        listening[1].cancel()

    asyncio.run(main())


def test_between_two_stages_a_request_is_refused_by_the_next_and_a_new_one_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        calls = CancellableCalls()
        assert calls.cancel("a") is False
        with pytest.raises(RequestCancelled), calls.call("a", accepted_before=True):
            pass
        with calls.call("a", accepted_before=False):
            pass
        monkeypatch.setattr(cancellation, "REMEMBER_SECONDS", -1)
        calls.cancel("a")
        with calls.call("a", accepted_before=True):
            pass

    asyncio.run(main())

from __future__ import annotations

import asyncio
from itertools import permutations

import pytest

from ray_stages.bridge import response_order
from ray_stages.bridge.response_order import Turns
from ray_stages.errors import InvalidRequest


async def answer(
    order: Turns, stream: int, number: int, last: int, out: list[int], seconds: float = 0
) -> None:
    async with order.turn(stream, number, number == last) as mine:
        await asyncio.sleep(seconds)
        await mine()
        out.append(number)


@pytest.mark.parametrize("arrival", list(permutations(range(3))))
def test_answers_go_out_in_order_however_they_come(arrival: tuple[int, ...]) -> None:
    async def main() -> list[int]:
        order, out = Turns(), list[int]()
        tasks = []
        for number in arrival:
            tasks.append(asyncio.create_task(answer(order, 1, number, 2, out)))
            await asyncio.sleep(0)
        await asyncio.gather(*tasks)
        return out

    assert asyncio.run(main()) == [0, 1, 2]


def test_streams_do_not_wait_for_each_other() -> None:
    async def main() -> list[int]:
        order, out = Turns(), list[int]()
        waiting = asyncio.create_task(answer(order, 1, 1, 1, out))
        await answer(order, 2, 0, 0, out)
        waiting.cancel()
        return out

    assert asyncio.run(main()) == [0]


def test_one_that_fails_lets_the_next_through() -> None:
    async def main() -> list[int]:
        order, out = Turns(), list[int]()
        with pytest.raises(ValueError, match="broken"):
            async with order.turn(1, 0, False):
                raise ValueError("broken")
        await asyncio.wait_for(answer(order, 1, 1, 1, out), 1)
        return out

    assert asyncio.run(main()) == [1]


def test_what_broke_off_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(response_order, "MOST_STREAMS", 10)

    async def main() -> int:
        order, out = Turns(), list[int]()
        for stream in range(100):
            await answer(order, stream, 0, 1, out)
        return len(order._streams)

    assert asyncio.run(main()) <= 10


def test_one_whose_earlier_ones_never_come_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that calls the decoder itself may say anything; it held its place for an hour."""
    monkeypatch.setattr(response_order, "COMING_SECONDS", 0.05)

    async def main() -> list[int]:
        order, out = Turns(), list[int]()
        slow = asyncio.create_task(answer(order, 1, 0, 2, out, seconds=0.2))
        await asyncio.sleep(0)
        await answer(order, 1, 1, 2, out)  # the earlier one has come, and takes its time
        await slow
        with pytest.raises(InvalidRequest, match="sequence: got 3, expected the earlier ones"):
            await asyncio.wait_for(answer(order, 2, 3, 3, out), 1)
        return out

    assert asyncio.run(main()) == [0, 1]

from __future__ import annotations

import asyncio
from itertools import permutations

import pytest

from ray_stages.bridge import response_order
from ray_stages.bridge.response_order import ResponseOrder
from ray_stages.errors import InvalidRequest


async def answer(
    order: ResponseOrder, stream: int, number: int, last: int, out: list[int], seconds: float = 0
) -> None:
    async with order.in_order(stream, number, number == last) as wait_for_earlier:
        await asyncio.sleep(seconds)
        await wait_for_earlier()
        out.append(number)


@pytest.mark.parametrize("arrival", list(permutations(range(3))))
def test_responses_are_sent_in_order_whatever_the_order_of_arrival(
    arrival: tuple[int, ...],
) -> None:
    async def main() -> list[int]:
        order, out = ResponseOrder(), list[int]()
        tasks = []
        for number in arrival:
            tasks.append(asyncio.create_task(answer(order, 1, number, 2, out)))
            await asyncio.sleep(0)
        await asyncio.gather(*tasks)
        return out

    assert asyncio.run(main()) == [0, 1, 2]


def test_streams_do_not_wait_for_each_other() -> None:
    async def main() -> list[int]:
        order, out = ResponseOrder(), list[int]()
        waiting = asyncio.create_task(answer(order, 1, 1, 1, out))
        await answer(order, 2, 0, 0, out)
        waiting.cancel()
        return out

    assert asyncio.run(main()) == [0]


def test_a_request_that_fails_does_not_block_the_next() -> None:
    async def main() -> list[int]:
        order, out = ResponseOrder(), list[int]()
        with pytest.raises(ValueError, match="broken"):
            async with order.in_order(1, 0, False):
                raise ValueError("broken")
        await asyncio.wait_for(answer(order, 1, 1, 1, out), 1)
        return out

    assert asyncio.run(main()) == [1]


def test_streams_that_never_end_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(response_order, "MAX_STREAMS", 10)

    async def main() -> int:
        order, out = ResponseOrder(), list[int]()
        for stream in range(100):
            await answer(order, stream, 0, 1, out)
        return len(order._streams)

    assert asyncio.run(main()) <= 10


def test_a_request_whose_predecessors_never_arrive_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A client that calls the decoder itself may send any number; it once waited for an hour."""
    monkeypatch.setattr(response_order, "ARRIVAL_TIMEOUT_SECONDS", 0.05)

    async def main() -> list[int]:
        order, out = ResponseOrder(), list[int]()
        slow = asyncio.create_task(answer(order, 1, 0, 2, out, seconds=0.2))
        await asyncio.sleep(0)
        await answer(order, 1, 1, 2, out)  # waits: the earlier one has arrived, but is slow
        await slow
        with pytest.raises(InvalidRequest, match="sequence: got 3, expected the earlier ones"):
            await asyncio.wait_for(answer(order, 2, 3, 3, out), 1)
        return out

    assert asyncio.run(main()) == [0, 1]

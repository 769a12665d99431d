from __future__ import annotations

import asyncio
import threading

import pytest

from ray_stages.runtimes.torch_thread import TorchThread


def test_calls_run_in_one_thread_in_order() -> None:
    thread = TorchThread()
    done: list[int] = []
    threads = set()

    def work(number: int) -> int:
        threads.add(threading.get_ident())
        done.append(number)
        return number

    async def ask() -> list[int]:
        return await asyncio.gather(*(thread.run(lambda i=i: work(i)) for i in range(9)))  # type: ignore[misc]

    assert asyncio.run(ask()) == list(range(9)) == done
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_an_error_goes_to_the_caller_and_the_thread_goes_on() -> None:
    thread = TorchThread()
    with pytest.raises(ZeroDivisionError):
        thread.submit(lambda: 1 // 0).result(5)
    assert thread.submit(lambda: 1).result(5) == 1

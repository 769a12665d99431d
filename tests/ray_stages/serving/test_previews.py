from __future__ import annotations

import asyncio
from concurrent.futures import Future
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from ray_stages.serving.previews import Previews


@dataclass(eq=False)
class Job:
    picture: Any
    latents: Future[Any]


def job_of(value: float) -> Any:
    picture = SimpleNamespace(step=0, steps=4, preview=torch.full((1, 1, 1, 1), value))
    return Job(picture, Future())


async def gathered(previews: Previews, jobs: list[Any]) -> list[tuple[int, list[float]]]:
    return [
        (step, latents.reshape(-1).tolist()) async for step, latents in previews.until_done(jobs)
    ]


def show(previews: Previews, job: Any, step: int) -> None:
    job.picture.step = step
    job.picture.preview = job.picture.preview + 0.125
    previews.watch(job)


def test_a_step_is_shown_when_all_pictures_are_so_far_and_the_latents_last() -> None:
    async def main() -> list[tuple[int, list[float]]]:
        previews = Previews()
        first, second = jobs = [job_of(1.0), job_of(2.0)]
        gathering = asyncio.create_task(gathered(previews, jobs))
        await asyncio.sleep(0)
        show(previews, first, 1)
        show(previews, first, 2)
        show(previews, second, 1)
        for job, value in ((first, 10.0), (second, 20.0)):
            job.latents.set_result(torch.full((1, 1, 1), value).numpy())
        return await asyncio.wait_for(gathering, 5)

    assert asyncio.run(main()) == [(1, [1.125, 2.125]), (4, [10.0, 20.0])]


def test_one_that_fails_ends_it_and_the_others_leave() -> None:
    async def main() -> Any:
        previews = Previews()
        first, second = jobs = [job_of(1.0), job_of(2.0)]
        gathering = asyncio.create_task(gathered(previews, jobs))
        await asyncio.sleep(0)
        first.latents.set_exception(ZeroDivisionError())
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(gathering, 5)
        return second.latents.cancelled()

    assert asyncio.run(main())


def test_who_stops_listening_cancels_the_pictures() -> None:
    async def main() -> bool:
        job = job_of(1.0)
        gathering = asyncio.create_task(gathered(Previews(), [job]))
        await asyncio.sleep(0.01)
        gathering.cancel()
        await asyncio.sleep(0.01)
        return bool(job.latents.cancelled())

    assert asyncio.run(main())


def test_a_picture_that_could_not_even_begin_fails_for_its_own_reason() -> None:
    async def main() -> None:
        job = Job(picture=None, latents=Future())
        job.latents.set_exception(ValueError("steps"))
        with pytest.raises(ValueError, match="steps"):
            await asyncio.wait_for(gathered(Previews(), [job]), 5)

    asyncio.run(main())

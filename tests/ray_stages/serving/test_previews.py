from __future__ import annotations

import asyncio
from concurrent.futures import Future
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from ray_stages.serving.previews import PreviewQueue


@dataclass(eq=False)
class Job:
    picture: Any
    latents: Future[Any]


def job_of(value: float) -> Any:
    picture = SimpleNamespace(step=0, steps=4, preview=torch.full((1, 1, 1, 1), value))
    return Job(picture, Future())


async def collect(previews: PreviewQueue, jobs: list[Any]) -> list[tuple[int, list[float]]]:
    return [
        (step, latents.reshape(-1).tolist()) async for step, latents in previews.until_done(jobs)
    ]


def reach(previews: PreviewQueue, job: Any, step: int) -> None:
    job.picture.step = step
    job.picture.preview = job.picture.preview + 0.125
    previews.put(job)


def test_a_preview_waits_for_all_pictures_and_the_final_latents_come_last() -> None:
    async def main() -> list[tuple[int, list[float]]]:
        previews = PreviewQueue()
        first, second = jobs = [job_of(1.0), job_of(2.0)]
        collecting = asyncio.create_task(collect(previews, jobs))
        await asyncio.sleep(0)
        reach(previews, first, 1)
        reach(previews, first, 2)
        reach(previews, second, 1)
        for job, value in ((first, 10.0), (second, 20.0)):
            job.latents.set_result(torch.full((1, 1, 1), value).numpy())
        return await asyncio.wait_for(collecting, 5)

    assert asyncio.run(main()) == [(1, [1.125, 2.125]), (4, [10.0, 20.0])]


def test_a_picture_that_fails_cancels_the_others() -> None:
    async def main() -> Any:
        previews = PreviewQueue()
        first, second = jobs = [job_of(1.0), job_of(2.0)]
        collecting = asyncio.create_task(collect(previews, jobs))
        await asyncio.sleep(0)
        first.latents.set_exception(ZeroDivisionError())
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(collecting, 5)
        return second.latents.cancelled()

    assert asyncio.run(main())


def test_a_consumer_that_stops_cancels_the_pictures() -> None:
    async def main() -> bool:
        job = job_of(1.0)
        collecting = asyncio.create_task(collect(PreviewQueue(), [job]))
        await asyncio.sleep(0.01)
        collecting.cancel()
        await asyncio.sleep(0.01)
        return bool(job.latents.cancelled())

    assert asyncio.run(main())


def test_the_error_of_a_picture_that_never_started_is_raised() -> None:
    async def main() -> None:
        job = Job(picture=None, latents=Future())
        job.latents.set_exception(ValueError("steps"))
        with pytest.raises(ValueError, match="steps"):
            await asyncio.wait_for(collect(PreviewQueue(), [job]), 5)

    asyncio.run(main())

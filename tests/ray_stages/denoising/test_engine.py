"""The denoising loop, with a fake denoiser that counts steps."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
import torch

from ray_stages.denoising.denoiser import Denoiser
from ray_stages.denoising.engine import Engine, Job
from ray_stages.errors import DeadlineExceeded, Overloaded
from ray_stages.requests.stage_requests import DenoiseRequest


@dataclass
class FakePicture:
    name: int
    steps: int
    step: int = 0
    rows: int = 1
    preview: torch.Tensor | None = None
    size: tuple[int, int] = (8, 8)

    @property
    def done(self) -> bool:
        return self.step >= self.steps

    @property
    def latents(self) -> torch.Tensor:
        return torch.full((1, 1, 1, 1), float(self.name))


@dataclass
class FakeDenoiser:
    """Steps only while `open` is set; a picture named in `broken` fails every batch it is in."""

    open: threading.Event = field(default_factory=threading.Event)
    broken: set[int] = field(default_factory=set)
    memory: int = 1_000
    batches: list[list[int]] = field(default_factory=list)
    stepped: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def start(self, request: Any, i: int) -> FakePicture:
        return FakePicture(request.seeds[i], request.steps)

    def predict(self, batch: list[FakePicture]) -> list[int]:
        self.open.wait(10)
        names = [picture.name for picture in batch]
        if self.broken.intersection(names):
            raise RuntimeError(f"broken: {names}")
        if len(names) > self.memory:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        self.batches.append(names)
        return names

    def advance(self, picture: FakePicture, prediction: int) -> None:
        assert prediction == picture.name
        picture.step += 1
        picture.preview = torch.full((1, 1, 1, 1), float(picture.step))
        self.stepped.release()


@pytest.fixture
def denoiser() -> FakeDenoiser:
    return FakeDenoiser()


@pytest.fixture
def engine(denoiser: FakeDenoiser) -> Iterator[Engine]:
    engine = Engine(cast(Denoiser, denoiser), max_rows=8, max_pictures=16)
    yield engine
    denoiser.open.set()
    engine.close()
    assert not engine.alive


def submit(
    engine: Engine, *seeds: int, steps: int = 1, priority: int = 5, **options: Any
) -> list[Job]:
    parameters = {"seeds": list(seeds), "steps": steps, "priority": priority}
    return engine.submit(cast(DenoiseRequest, type("Request", (), parameters)), **options)


def result(job: Job) -> float:
    return float(job.latents.result(10).item())


def test_each_picture_gets_its_own_latents(engine: Engine, denoiser: FakeDenoiser) -> None:
    denoiser.open.set()
    begin = time.monotonic()
    jobs = submit(engine, 1, 2, 3, steps=4)
    assert [result(job) for job in jobs] == [1, 2, 3]
    assert all(begin <= job.started <= time.monotonic() for job in jobs)


def test_a_late_picture_joins_the_running_batch(engine: Engine, denoiser: FakeDenoiser) -> None:
    (early,) = submit(engine, 1, steps=3)
    (late,) = submit(engine, 2, steps=1)
    denoiser.open.set()
    assert (result(early), result(late)) == (1, 2)
    assert [1, 2] in denoiser.batches or [2, 1] in denoiser.batches
    assert denoiser.batches[-1] == [1]


def test_a_cancelled_picture_leaves_and_the_others_go_on(
    engine: Engine, denoiser: FakeDenoiser
) -> None:
    unwanted, wanted = submit(engine, 1, 2, steps=50)
    unwanted.latents.cancel()
    denoiser.open.set()
    assert result(wanted) == 2
    assert sum(1 in batch for batch in denoiser.batches) <= 1
    with pytest.raises(CancelledError):
        unwanted.latents.result(1)


def test_a_broken_picture_fails_alone(engine: Engine, denoiser: FakeDenoiser) -> None:
    denoiser.broken = {3}
    jobs = submit(engine, 1, 2, 3, 4, 5, steps=2)
    denoiser.open.set()
    assert [result(jobs[i]) for i in (0, 1, 3, 4)] == [1, 2, 4, 5]
    with pytest.raises(RuntimeError, match=r"broken: \[3\]"):
        result(jobs[2])
    assert engine.alive


def test_out_of_memory_lowers_the_limit_and_fails_no_picture(
    engine: Engine, denoiser: FakeDenoiser
) -> None:
    denoiser.memory = 3
    jobs = submit(engine, *range(8), steps=2)
    denoiser.open.set()
    assert [result(job) for job in jobs] == list(range(8))
    assert engine.max_rows <= 3
    assert max(map(len, denoiser.batches)) <= 3


def test_pictures_above_the_limit_are_refused_and_the_others_go_on(
    engine: Engine, denoiser: FakeDenoiser
) -> None:
    accepted = submit(engine, *range(15), steps=2)
    with pytest.raises(Overloaded, match=r"2 more on 15 pictures .* limit of a replica is 16"):
        submit(engine, 15, 16)
    denoiser.open.set()
    assert [result(job) for job in accepted] == list(range(15))
    assert result(*submit(engine, 17)) == 17


def test_a_picture_fails_after_its_deadline(engine: Engine, denoiser: FakeDenoiser) -> None:
    (late,) = submit(engine, 1, steps=1_000_000, deadline=time.time() + 0.05)
    (other,) = submit(engine, 2, steps=5)
    time.sleep(0.1)
    denoiser.open.set()
    with pytest.raises(DeadlineExceeded, match=r"deadline has passed after . of 1000000 steps"):
        result(late)
    assert result(other) == 2


def test_priority_and_waiting_decide_the_order(denoiser: FakeDenoiser) -> None:
    engine = Engine(cast(Denoiser, denoiser), max_rows=1, aging_seconds=0.05)
    (running,) = submit(engine, 0)
    (patient,) = submit(engine, 1, priority=5)
    time.sleep(0.25)
    (usual,) = submit(engine, 2, priority=5)
    (urgent,) = submit(engine, 3, priority=1)
    (other,) = submit(engine, 4, priority=1)
    denoiser.open.set()
    for job in (running, patient, usual, urgent, other):
        result(job)
    engine.close()
    assert denoiser.batches == [[0], [1], [3], [4], [2]]


def test_on_preview_is_called_after_each_step_but_the_last(
    engine: Engine, denoiser: FakeDenoiser
) -> None:
    seen: list[tuple[int, float]] = []

    def watch(job: Job) -> None:
        assert job.picture.preview is not None
        seen.append((job.picture.step, float(job.picture.preview.item())))

    (job,) = submit(engine, 1, steps=4, on_preview=watch)
    denoiser.open.set()
    result(job)
    assert seen == [(1, 1.0), (2, 2.0), (3, 3.0)]

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from ray_stages.step_scheduler import StepScheduler


@dataclass(eq=False)
class Picture:
    steps: int = 1
    rows: int = 2
    size: tuple[int, int] = (8, 8)
    taken: int = 0
    waited: int = 0

    @property
    def done(self) -> bool:
        return self.taken >= self.steps


def run(scheduler: StepScheduler[Picture], batches: int = 10_000) -> list[list[Picture]]:
    """Steps until nothing is left."""
    history: list[list[Picture]] = []
    while len(scheduler) and len(history) < batches:
        batch = scheduler.next_batch()
        for picture in batch:
            picture.taken += 1
        scheduler.put_back(batch)
        history.append(batch)
    return history


def test_pictures_of_one_size_step_together_and_leave_when_done() -> None:
    short, long = Picture(steps=1), Picture(steps=3)
    scheduler: StepScheduler[Picture] = StepScheduler(max_rows=8)
    scheduler.add(short)
    scheduler.add(long)
    assert run(scheduler) == [[short, long], [long], [long]]


def test_a_newcomer_joins_at_the_next_step() -> None:
    first, late = Picture(steps=3), Picture(steps=1)
    scheduler: StepScheduler[Picture] = StepScheduler(max_rows=8)
    scheduler.add(first)
    run(scheduler, batches=1)
    scheduler.add(late)
    assert scheduler.next_batch() == [first, late]


def test_rows_are_counted_not_pictures() -> None:
    scheduler: StepScheduler[Picture] = StepScheduler(max_rows=4)
    pictures = [Picture(rows=2), Picture(rows=1), Picture(rows=1), Picture(rows=2)]
    for picture in pictures:
        scheduler.add(picture)
    assert scheduler.next_batch() == pictures[:3]


def test_a_picture_larger_than_the_limit_goes_alone() -> None:
    scheduler: StepScheduler[Picture] = StepScheduler(max_rows=1)
    pictures = [Picture(rows=2), Picture(rows=2)]
    for picture in pictures:
        scheduler.add(picture)
    assert scheduler.next_batch() == pictures[:1]


PICTURES = st.builds(
    Picture,
    steps=st.integers(1, 6),
    rows=st.sampled_from([1, 2]),
    size=st.sampled_from([(8, 8), (8, 16), (16, 16)]),
)


@given(pictures=st.lists(PICTURES, min_size=1, max_size=30), max_rows=st.integers(1, 12))
def test_every_picture_gets_its_steps_and_none_starves(
    pictures: list[Picture], max_rows: int
) -> None:
    scheduler: StepScheduler[Picture] = StepScheduler(max_rows)
    for picture in pictures:
        scheduler.add(picture)
    sizes = len({picture.size for picture in pictures})
    bound = sizes * max(sum(p.size == q.size for q in pictures) for p in pictures)
    while len(scheduler):
        waiting = [picture for picture in pictures if not picture.done]
        batch = scheduler.next_batch()
        assert len({picture.size for picture in batch}) == 1
        assert len(batch) == 1 or sum(picture.rows for picture in batch) <= max_rows
        for picture in waiting:
            picture.waited = 0 if picture in batch else picture.waited + 1
            assert picture.waited <= bound
        for picture in batch:
            picture.taken += 1
        scheduler.put_back(batch)
    assert [picture.taken for picture in pictures] == [picture.steps for picture in pictures]

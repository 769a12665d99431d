from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from ray_stages.denoising.step_scheduler import StepScheduler


@dataclass(eq=False)
class Picture:
    """guided_from: the first step with guidance, which needs a second row."""

    steps: int = 1
    guided_from: int = 0
    size: tuple[int, int] = (8, 8)
    rank: float = 0.0
    taken: int = 0
    waited: int = 0
    cancelled: bool = False

    @property
    def rows(self) -> int:
        return 2 if self.taken >= self.guided_from else 1

    @property
    def done(self) -> bool:
        return self.cancelled or self.taken >= self.steps


ONE_ROW = 1_000  # guided_from of a picture without guidance


def scheduler_of(max_rows: int, *pictures: Picture) -> StepScheduler[Picture]:
    scheduler: StepScheduler[Picture] = StepScheduler(max_rows)
    for picture in pictures:
        scheduler.add(picture)
    return scheduler


def step(scheduler: StepScheduler[Picture]) -> list[Picture]:
    batch = scheduler.next_batch()
    for picture in batch:
        picture.taken += 1
    return batch


def run(scheduler: StepScheduler[Picture]) -> list[list[Picture]]:
    """Steps until nothing is left."""
    history = []
    while batch := step(scheduler):
        history.append(batch)
    assert len(scheduler) == 0
    return history


def test_without_pictures_the_batch_is_empty() -> None:
    assert scheduler_of(8).next_batch() == []


def test_pictures_of_one_size_step_together_and_leave_when_done() -> None:
    short, long = Picture(steps=1), Picture(steps=3)
    assert run(scheduler_of(8, short, long)) == [[short, long], [long], [long]]


def test_a_newcomer_joins_at_the_next_step() -> None:
    first, late = Picture(steps=3), Picture(steps=1)
    scheduler = scheduler_of(8, first)
    step(scheduler)
    scheduler.add(late)
    assert set(scheduler.next_batch()) == {first, late}


def test_rows_are_counted_not_pictures() -> None:
    pictures = [
        Picture(),
        Picture(guided_from=ONE_ROW),
        Picture(guided_from=ONE_ROW),
        Picture(),
    ]
    assert scheduler_of(4, *pictures).next_batch() == pictures[:3]


def test_a_picture_larger_than_the_limit_goes_alone() -> None:
    pictures = [Picture(), Picture()]
    assert scheduler_of(1, *pictures).next_batch() == pictures[:1]


def test_admitted_pictures_finish_before_others_are_admitted() -> None:
    first, second, third = (Picture(steps=2) for _ in range(3))
    assert run(scheduler_of(4, first, second, third)) == [
        [first, second],
        [first, second],
        [third],
        [third],
    ]


def test_the_lower_rank_is_admitted_first_and_equal_ranks_by_arrival() -> None:
    late, early, other = Picture(rank=2), Picture(rank=1), Picture(rank=1)
    assert run(scheduler_of(2, late, early, other)) == [[early], [other], [late]]


def test_a_finished_picture_leaves_whether_waiting_or_admitted() -> None:
    first, second, third = (Picture(steps=9) for _ in range(3))
    scheduler = scheduler_of(2, first, second, third)
    step(scheduler)
    first.cancelled = second.cancelled = True
    assert len(scheduler) == 1
    assert scheduler.next_batch() == [third]


def test_sizes_take_turns() -> None:
    small, large = Picture(steps=2), Picture(steps=2, size=(16, 16))
    assert run(scheduler_of(8, small, large)) == [[small], [large], [small], [large]]


def test_a_lowered_limit_holds_from_the_next_batch_and_pictures_take_turns() -> None:
    pictures = [Picture(steps=2) for _ in range(4)]
    scheduler = scheduler_of(8, *pictures)
    assert step(scheduler) == pictures
    scheduler.max_rows = 4
    assert [step(scheduler), step(scheduler)] == [pictures[:2], pictures[2:]]


PICTURES = st.builds(
    Picture,
    steps=st.integers(1, 6),
    guided_from=st.sampled_from([0, 2, ONE_ROW]),
    size=st.sampled_from([(8, 8), (8, 16), (16, 16)]),
    rank=st.floats(0, 10),
)


@given(pictures=st.lists(PICTURES, min_size=1, max_size=30), max_rows=st.integers(2, 12))
def test_every_picture_gets_its_steps_and_none_starves(
    pictures: list[Picture], max_rows: int
) -> None:
    scheduler = scheduler_of(max_rows, *pictures)
    sizes = len({picture.size for picture in pictures})
    doubling = any(0 < picture.guided_from < ONE_ROW for picture in pictures)
    bound = 3 * sizes - 1 if doubling else sizes - 1
    while len(scheduler):
        admitted = [picture for picture in pictures if picture.taken > 0 and not picture.done]
        batch = scheduler.next_batch()
        assert len({picture.size for picture in batch}) == 1
        assert sum(picture.rows for picture in batch) <= max_rows
        for picture in admitted:
            picture.waited = 0 if picture in batch else picture.waited + 1
            assert picture.waited <= bound
        for picture in batch:
            assert not picture.done
            picture.taken += 1
    assert [picture.taken for picture in pictures] == [picture.steps for picture in pictures]


@given(pictures=st.lists(PICTURES, min_size=2, max_size=30), max_rows=st.integers(2, 12))
def test_of_one_size_none_is_admitted_before_a_lower_rank(
    pictures: list[Picture], max_rows: int
) -> None:
    scheduler = scheduler_of(max_rows, *pictures)
    begun: list[Picture] = []
    while batch := step(scheduler):
        begun += [picture for picture in batch if picture.taken == 1]
    for size in {picture.size for picture in pictures}:
        ranks = [picture.rank for picture in begun if picture.size == size]
        assert ranks == sorted(ranks)

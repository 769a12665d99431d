from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from ray_stages.errors import Overloaded
from ray_stages.requests.fields import Array
from ray_stages.runtimes.memory import BatchSplitter, compute_each, is_out_of_memory

PETABYTE = 2**50


class Doubling:
    """Doubles rows, and has memory for so many numbers."""

    def __init__(self, memory: int) -> None:
        self.memory = memory
        self.tried: list[int] = []

    def __call__(self, rows: Array) -> Array:
        self.tried.append(len(rows))
        if rows.size > self.memory:
            raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return 2 * rows


@pytest.mark.parametrize(
    "allocate",
    [
        lambda: torch.empty(PETABYTE),
        lambda: np.empty(PETABYTE),
        lambda: bytearray(PETABYTE),
    ],
)
def test_errors_of_allocators_are_recognized(allocate: Callable[[], object]) -> None:
    with pytest.raises((RuntimeError, MemoryError)) as refused:
        allocate()
    assert is_out_of_memory(refused.value)


@pytest.mark.parametrize(
    ("error", "is_one"),
    [
        (torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("Exception from src/plugins/intel_cpu/node.cpp: std::bad_alloc"), True),
        (RuntimeError("[ONNXRuntimeError] : 6 : bad allocation"), True),
        (RuntimeError("Failed to allocate memory for requested buffer of size 4"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_errors_of_runtimes_are_recognized(error: Exception, is_one: bool) -> None:
    assert is_out_of_memory(error) is is_one


def test_an_unclear_error_counts_if_an_allocation_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> object:
        raise OSError(12, "Cannot allocate memory")

    error = RuntimeError("std::future_error: Broken promise")
    assert not is_out_of_memory(error)
    monkeypatch.setattr("ray_stages.runtimes.memory.mmap.mmap", refuse)
    assert is_out_of_memory(error)


@pytest.mark.parametrize("memory", [1, 2, 3, 5, 8, 100])
def test_rows_are_computed_in_batches_that_fit(memory: int) -> None:
    rows = np.arange(7.0).reshape(7, 1)
    assert (BatchSplitter("stage", Doubling(memory))(rows) == 2 * rows).all()


def test_a_batch_size_that_failed_is_not_tried_again() -> None:
    compute = Doubling(memory=4)
    splitter = BatchSplitter("stage", compute)
    for _ in range(2):
        splitter(np.zeros((8, 1)))
    assert compute.tried == [8, 4, 4, 4, 4]
    splitter(np.zeros((2, 2)))  # limits are per shape
    assert compute.tried[5:] == [2]


def test_a_single_row_that_does_not_fit_is_an_error() -> None:
    splitter = BatchSplitter("vae_decoder", Doubling(memory=3))
    with pytest.raises(Overloaded, match=r"^vae_decoder: not enough memory for 2x2$"):
        splitter(np.zeros((3, 2, 2)))


def test_other_errors_are_raised() -> None:
    def broken(rows: Array) -> Array:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        BatchSplitter("stage", broken)(np.zeros((4, 1)))


def test_a_request_that_is_too_large_fails_alone() -> None:
    splitter = BatchSplitter("stage", Doubling(memory=2))
    requests = [np.ones((1, 2)), np.ones((1, 9)), np.ones((2, 1))]
    results = compute_each(lambda several: [splitter(one) for one in several], requests)
    assert [isinstance(result, Overloaded) for result in results] == [False, True, False]
    assert [str(result) for result in results[::2]] == ["[[2. 2.]]", "[[2.]\n [2.]]"]

"""What a runtime gives is looked at: no picture is made of values that are not finite."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from ray_stages.errors import StageFailed
from ray_stages.runtimes.network import Runtime, Tensors

ROWS = torch.tensor([[1.0, 2.0], [300.0, 4.0], [5.0, 6.0]])


def half(rows: torch.Tensor) -> Tensors:
    """Overflows, as float16 does, from 256 on."""
    return (torch.where(rows >= 256, torch.inf, rows) * 2, rows)


def in_float32(rows: torch.Tensor) -> Tensors:
    return (rows * 2, rows)


def runtime(exact: Callable[..., Tensors] | None) -> Runtime:
    return Runtime("torch", "float16", half, network="vae_decoder", exact=exact)


def test_rows_that_overflow_are_computed_again_in_float32() -> None:
    seen: list[torch.Tensor] = []

    def exact(rows: torch.Tensor) -> Tensors:
        seen.append(rows)
        return in_float32(rows)

    doubled, same = runtime(exact)(ROWS)
    assert doubled.tolist() == (ROWS * 2).tolist()
    assert same.tolist() == ROWS.tolist()
    assert [rows.tolist() for rows in seen] == [[[300.0, 4.0]]]


def test_without_float32_the_network_and_its_precision_are_named() -> None:
    with pytest.raises(StageFailed, match="vae_decoder: the result is not finite in float16"):
        runtime(None)(ROWS)


def test_what_overflows_in_float32_too_says_so() -> None:
    with pytest.raises(StageFailed, match="nor in float32"):
        runtime(half)(ROWS)

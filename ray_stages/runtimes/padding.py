"""Few batch sizes instead of any, for runtimes that prepare each shape anew."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ray_stages.runtimes.network import Tensors

STEPS = (1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)


def padded(compute: Callable[..., Tensors]) -> Callable[..., Tensors]:
    """At most half as many rows more, a sixth on average: copies of the last one, cut off again."""

    def call(*inputs: torch.Tensor) -> Tensors:
        rows = len(inputs[0])
        missing = padded_rows(rows) - rows
        if not missing:
            return compute(*inputs)
        longer = [torch.cat([one, one[-1:].expand(missing, *one.shape[1:])]) for one in inputs]
        return tuple(output[:rows] for output in compute(*longer))

    return call


def padded_rows(rows: int) -> int:
    return next((step for step in STEPS if step >= rows), rows)

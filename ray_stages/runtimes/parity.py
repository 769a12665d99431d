"""Does a runtime say what PyTorch says in full precision?"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from ray_stages.runtimes.network import Network, Runtime, Tensors

# Of an output's own size. What they mean in pixels: docs/runtimes.md.
LIMITS = {"float32": 1e-3, "float16": 3e-2, "bfloat16": 3e-2, "int8": 5e-1}


class Parity:
    """Keeps what `network` itself says, of few and more rows, of its usual and an odd size."""

    def __init__(self, network: Network) -> None:
        self.inputs = [network.example(1), network.example(3), network.example(2, odd=True)]
        with torch.inference_mode():
            self.expected: list[Tensors] = [network.module(*inputs) for inputs in self.inputs]

    def error(self, runtime: Runtime) -> float:
        """The largest of all outputs: root mean square, relative to the output's own."""
        errors = [
            relative_error(runtime(*inputs), expected)
            for inputs, expected in zip(self.inputs, self.expected, strict=True)
        ]
        return max(errors)


def relative_error(outputs: Sequence[torch.Tensor], expected: Sequence[torch.Tensor]) -> float:
    """Infinite where something is not a number, or has another shape."""
    worst = 0.0
    for output, right in zip(outputs, expected, strict=True):
        if output.shape != right.shape or not bool(output.isfinite().all()):
            return math.inf
        difference = (output.double() - right.double()).square().mean()
        scale = right.double().square().mean().clamp_min(1e-12)
        worst = max(worst, float((difference / scale).sqrt()))
    return worst

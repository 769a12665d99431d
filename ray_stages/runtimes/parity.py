"""Compares a runtime's outputs with those of PyTorch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from ray_stages.runtimes.network import Network, Runtime, Tensors

# Of `relative_error`. docs/runtimes.md says what they mean in pixels.
LIMITS = {"float32": 1e-3, "float16": 3e-2, "bfloat16": 3e-2, "int8": 5e-1}


class ParityCheck:
    """Computes reference outputs once: of a few batch sizes, in the usual and in odd sizes."""

    def __init__(self, network: Network) -> None:
        self.inputs = [network.example(1), network.example(3), network.example(2, odd=True)]
        with torch.inference_mode():
            self.expected: list[Tensors] = [network.module(*inputs) for inputs in self.inputs]

    def error(self, runtime: Runtime) -> float:
        """Returns the largest relative error of a runtime's outputs."""
        errors = [
            relative_error(runtime(*inputs), expected)
            for inputs, expected in zip(self.inputs, self.expected, strict=True)
        ]
        return max(errors)


def relative_error(outputs: Sequence[torch.Tensor], expected: Sequence[torch.Tensor]) -> float:
    """Returns the largest root mean square error, relative to the output's own root mean square.

    It is infinite if an output has another shape or values that are not finite.
    """
    worst = 0.0
    for output, reference in zip(outputs, expected, strict=True):
        if output.shape != reference.shape or not bool(output.isfinite().all()):
            return math.inf
        difference = (output.double() - reference.double()).square().mean()
        scale = reference.double().square().mean().clamp_min(1e-12)
        worst = max(worst, float((difference / scale).sqrt()))
    return worst

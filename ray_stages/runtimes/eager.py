"""PyTorch in eager mode: the reference for all other runtimes."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch

from ray_stages.runtimes.network import Network, Runtime, Tensors, cast_floats
from ray_stages.runtimes.target import DTYPES, Target, cpu_description

NAME = "torch"
REQUIRED_PACKAGES: tuple[str, ...] = ()


def precisions(device: torch.device) -> tuple[str, ...]:
    """Offers bfloat16 only on CPUs with instructions for it; others are slower in it."""
    if device.type == "cpu":
        return ("float32", "bfloat16") if "bf16" in cpu_description() else ("float32",)
    return tuple(DTYPES)


def open_as_loaded(network: Network) -> Runtime:
    """Opens the module itself, in the dtype in which it was loaded."""
    precision = next(name for name, dtype in DTYPES.items() if dtype == network.dtype)
    return Runtime(NAME, precision, in_precision(network, precision), network=network.name)


def open_network(network: Network, precision: str, target: Target) -> Runtime:
    return Runtime(NAME, precision, in_precision(network, precision))


def in_precision(
    network: Network,
    precision: str,
    wrap: Callable[[torch.nn.Module], Callable[..., Tensors]] = lambda module: module,
) -> Callable[..., Tensors]:
    """Returns a function that computes in `precision`, and takes and returns the network's dtype.

    wrap: compiles the module, for example.
    """
    outside, inside = network.dtype, DTYPES[precision]
    same = inside == outside
    compute = wrap(network.module if same else copy.deepcopy(network.module).to(inside))

    @torch.inference_mode()
    def call(*inputs: torch.Tensor) -> Tensors:
        outputs = compute(*cast_floats(inputs, inside))
        return tuple(output.to(outside) for output in outputs)

    return call

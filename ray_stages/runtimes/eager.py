"""PyTorch as it is, layer by layer: what the other runtimes are held against."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch

from ray_stages.runtimes.network import Network, Runtime, Tensors, cast
from ray_stages.runtimes.place import DTYPES, Place, processor

NAME = "torch"
NEEDS: tuple[str, ...] = ()


def precisions(device: torch.device) -> tuple[str, ...]:
    """Processors that have no bfloat16 would only be slower with it."""
    if device.type == "cpu":
        return ("float32", "bfloat16") if "bf16" in processor() else ("float32",)
    return tuple(DTYPES)


def as_loaded(network: Network) -> Runtime:
    """The module itself, in the type it has."""
    precision = next(name for name, dtype in DTYPES.items() if dtype == network.dtype)
    return Runtime(NAME, precision, in_precision(network, precision), network=network.name)


def open_network(network: Network, precision: str, place: Place) -> Runtime:
    return Runtime(NAME, precision, in_precision(network, precision))


def in_precision(
    network: Network,
    precision: str,
    wrap: Callable[[torch.nn.Module], Callable[..., Tensors]] = lambda module: module,
) -> Callable[..., Tensors]:
    """Takes and gives the network's own type, whatever `precision` it computes in."""
    outside, inside = network.dtype, DTYPES[precision]
    same = inside == outside
    compute = wrap(network.module if same else copy.deepcopy(network.module).to(inside))

    @torch.inference_mode()
    def call(*inputs: torch.Tensor) -> Tensors:
        outputs = compute(*cast(inputs, inside))
        return tuple(output.to(outside) for output in outputs)

    return call

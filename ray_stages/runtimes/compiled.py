"""`torch.compile`: kernels made for this machine; on CUDA one graph launch a call."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import torch

from ray_stages.runtimes import eager
from ray_stages.runtimes.network import Network, Runtime, Tensors
from ray_stages.runtimes.padding import padded
from ray_stages.runtimes.place import Place

NAME = "torch-compile"
NEEDS: tuple[str, ...] = ()


def precisions(device: torch.device) -> tuple[str, ...]:
    """Inductor calls the C++ compiler for CPUs; for GPUs Triton's, which comes with torch."""
    if device.type == "cpu" and not (shutil.which("g++") or shutil.which("clang++")):
        return ()
    return eager.precisions(device)


def open_network(network: Network, precision: str, place: Place) -> Runtime:
    """CUDA graphs are recorded for one shape each, so rows are padded to few numbers."""
    if place.device.type == "cpu":
        return Runtime(NAME, precision, eager.in_precision(network, precision, _compiled))
    return Runtime(NAME, precision, padded(eager.in_precision(network, precision, _graphs)))


def _compiled(module: torch.nn.Module) -> Callable[..., Tensors]:
    compute: Any = torch.compile(module, dynamic=True)
    return compute  # type: ignore[no-any-return]


def _graphs(module: torch.nn.Module) -> Callable[..., Tensors]:
    compute: Any = torch.compile(module, mode="reduce-overhead", dynamic=False)

    def call(*inputs: torch.Tensor) -> Tensors:
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        return tuple(output.clone() for output in compute(*inputs))  # the next replay overwrites

    return call

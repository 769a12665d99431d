"""`torch.compile`: kernels generated for this machine; on CUDA, one graph launch for each call."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import torch

from ray_stages.runtimes import eager
from ray_stages.runtimes.network import Network, Runtime, Tensors
from ray_stages.runtimes.padding import pad_rows
from ray_stages.runtimes.target import Target

NAME = "torch-compile"
REQUIRED_PACKAGES: tuple[str, ...] = ()


def precisions(device: torch.device) -> tuple[str, ...]:
    """Inductor needs a C++ compiler for CPUs. For GPUs it uses the Triton compiler inside torch."""
    if device.type == "cpu" and not (shutil.which("g++") or shutil.which("clang++")):
        return ()
    return eager.precisions(device)


def open_network(network: Network, precision: str, target: Target) -> Runtime:
    """On CUDA it pads rows to a few counts, because a CUDA graph is recorded for one shape."""
    if target.device.type == "cpu":
        return Runtime(NAME, precision, eager.in_precision(network, precision, _compiled))
    return Runtime(NAME, precision, pad_rows(eager.in_precision(network, precision, _cuda_graphs)))


def _compiled(module: torch.nn.Module) -> Callable[..., Tensors]:
    compute: Any = torch.compile(module, dynamic=True)
    return compute  # type: ignore[no-any-return]


def _cuda_graphs(module: torch.nn.Module) -> Callable[..., Tensors]:
    compute: Any = torch.compile(module, mode="reduce-overhead", dynamic=False)

    def call(*inputs: torch.Tensor) -> Tensors:
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        return tuple(output.clone() for output in compute(*inputs))  # the next replay overwrites

    return call

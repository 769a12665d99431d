"""The device on which a runtime computes, and what the runtime may use there."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from ray_stages.runtimes.network import Tensors

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def cpu_description() -> str:
    """Returns the CPU's model name and instruction sets."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    kinds = ("model name", "flags", "Features")
    return "".join(sorted({line for line in lines if line.startswith(kinds)}))


@dataclass(frozen=True)
class Target:
    """The device and resources of one replica.

    threads: on a CPU; cache_dir: for exports and measurements; calibration: returns real inputs of
    the network of that name, to quantize it.
    """

    device: torch.device
    threads: int
    cache_dir: Path
    calibration: Callable[[str], list[Tensors]]

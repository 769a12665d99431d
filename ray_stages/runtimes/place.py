"""Where a network is to be computed."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from ray_stages.runtimes.network import Tensors

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def processor() -> str:
    """The name of this machine's, and what it can do."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    kinds = ("model name", "flags", "Features")
    return "".join(sorted({line for line in lines if line.startswith(kinds)}))


@dataclass(frozen=True)
class Place:
    """threads: of this replica, on a CPU; cache_dir: for exports and what was measured;
    calibration: inputs that a network of this name really gets, to quantize it by.
    """

    device: torch.device
    threads: int
    cache_dir: Path
    calibration: Callable[[str], list[Tensors]]

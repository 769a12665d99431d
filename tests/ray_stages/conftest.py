from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch.jit import _recursive

from ray_stages.families.checkpoint import Checkpoint
from ray_stages.runtimes.target import Target
from ray_stages.serving.calibration import Calibration


@pytest.fixture(scope="session")
def exports_dir(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The workers share it, since an export takes seconds. `ExportCache` locks it."""
    own = tmp_path_factory.getbasetemp()
    folder = (own if worker_id == "master" else own.parent) / "exports"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def target_for(exports_dir: Path) -> Iterator[Callable[[Checkpoint], Target]]:
    """The CPU, one thread, for the networks of a checkpoint."""
    yield lambda one: Target(torch.device("cpu"), 1, exports_dir, Calibration(one).inputs_of)
    forget_traced_networks()


def forget_traced_networks() -> None:
    """As torch.testing._internal.jit_utils does: PyTorch keeps each type that it ever traced."""
    _recursive.concrete_type_store = _recursive.ConcreteTypeStore()
    torch._C._jit_clear_class_registry()
    gc.collect()

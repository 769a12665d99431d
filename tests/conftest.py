from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ray_stages.checkpoint import Checkpoint
from ray_stages.settings import Settings
from tests import checkpoints

torch.set_num_threads(2)


@pytest.fixture(scope="session")
def checkpoint_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes the tiny checkpoint of a family, once a test run."""
    root = tmp_path_factory.mktemp("checkpoints")

    def folder(family: str) -> Path:
        path = root / family
        return path if path.exists() else checkpoints.make(family, path)

    return folder


@pytest.fixture
def load(checkpoint_folder: Callable[[str], Path]) -> Callable[[str], Checkpoint]:
    """The tiny checkpoint of a family as the stages load it."""
    return lambda family: Checkpoint(Settings(model=str(checkpoint_folder(family)), device="cpu"))

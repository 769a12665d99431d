"""One stack for all integration tests: those of `test.py` and `tests/test_live_*.py`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.support.stacks import MAX_IN_FLIGHT, Stack, running_stack

# The same examples everywhere and always; HYPOTHESIS_PROFILE=default looks for new ones.
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(scope="session")
def latents_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("latents")


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, latents_dir: Path) -> Iterator[Stack]:
    """A real tritonserver and a real Ray, started once, called as users do."""
    output = tmp_path_factory.mktemp("stack") / "serve.log"
    limit = str(MAX_IN_FLIGHT)
    with running_stack(output, MAX_IN_FLIGHT=limit, LATENTS_DIR=str(latents_dir)) as stack:
        yield stack

"""Which tests need a running stack, who runs them, and the stack that they share."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from xdist.scheduler import LoadFileScheduling

from tests.support.stacks import MAX_IN_FLIGHT, Stack, running_stack

# Its warnings at import would come after pytest's last line, which CI reads.
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

# The profile `ci` always tries the same examples; HYPOTHESIS_PROFILE=default tries new ones.
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

LIVE = ("tests/live/", "test.py")
SLOW_FIXTURES = {"browser", "target_for"}  # Chromium, and exports of networks
LIVE_WITHOUT_STACK = "tests/live/batch/"  # each starts a Ray of its own


def uses_stack(nodeid: str) -> bool:
    return nodeid.startswith(LIVE) and not nodeid.startswith(LIVE_WITHOUT_STACK)


class OneStackScheduling(LoadFileScheduling):  # type: ignore[misc]  # xdist has no types
    """One worker runs all tests of the stack. A free worker takes the next of the other files."""

    def _split_scope(self, nodeid: str) -> str:
        return "stack" if uses_stack(nodeid) else str(super()._split_scope(nodeid))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneStackScheduling:
    return OneStackScheduling(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Marks live and slow tests. Workers begin with the live ones: the longest is not the last."""
    for item in items:
        if item.nodeid.startswith(LIVE):
            item.add_marker("live")
        if SLOW_FIXTURES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("slow")
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: (not uses_stack(item.nodeid), not item.nodeid.startswith(LIVE)))


def pytest_collection_finish() -> None:
    """What was imported stays, so the garbage collector need not look at it again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def latents_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("latents")


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, latents_dir: Path) -> Iterator[Stack]:
    """A real tritonserver and a real Ray, started once for all tests."""
    output = tmp_path_factory.mktemp("stack") / "serve.log"
    limit = str(MAX_IN_FLIGHT)
    with running_stack(output, MAX_IN_FLIGHT=limit, LATENTS_DIR=str(latents_dir)) as stack:
        yield stack

"""One stack for the faults that a stack recovers from; a scene of their own for the others."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.cluster.conftest import cluster
from tests.compose.containers import ComposeHouse, has_engine, opened
from tests.faults import report
from tests.faults.report import Row
from tests.faults.scene import Scene
from tests.support.stacks import Stack, running_stack

__all__ = ["cluster"]  # a fixture


@pytest.fixture(scope="session")
def rows() -> Iterator[list[Row]]:
    """The report is written where WRITE_REPORT is set: a part of the faults makes no report."""
    rows: list[Row] = []
    yield rows
    print("", report.HEAD, *rows, sep="")
    if os.environ.get("WRITE_REPORT"):
        report.write(rows)


@pytest.fixture(scope="session")
def common_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(tmp_path_factory.mktemp("faults") / "serve.log") as stack:
        yield stack


@pytest.fixture(scope="session")
def house() -> Iterator[ComposeHouse]:
    """In containers: a network that can be cut, and a memory that can be filled without harm."""
    if not has_engine():
        pytest.skip("no Docker engine answers here")
    with opened(CACHE_BYTES="0") as house:
        house.up(workers=2)
        yield house


@pytest.fixture
def scene(common_stack: Stack, rows: list[Row]) -> Scene:
    return Scene(common_stack, rows)

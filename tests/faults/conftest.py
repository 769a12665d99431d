"""One common stack for most faults; the other tests start a stack of their own."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.cluster.conftest import cluster
from tests.compose.project import ComposeProject, has_engine, running_project
from tests.faults import report
from tests.faults.report import Row
from tests.faults.scenario import FaultScenario
from tests.support.stacks import Stack, running_stack

__all__ = ["cluster"]  # a fixture


@pytest.fixture(scope="session")
def rows() -> Iterator[list[Row]]:
    """Collects the report's rows; writes the report only if WRITE_REPORT is set.

    Without that, a run of some of the faults would overwrite the report of all.
    """
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
def project() -> Iterator[ComposeProject]:
    """The service in containers, whose network can be cut and whose memory can be filled."""
    if not has_engine():
        pytest.skip("no Docker engine answers here")
    with running_project(CACHE_BYTES="0") as project:
        project.up(workers=2)
        yield project


@pytest.fixture
def scenario(common_stack: Stack, rows: list[Row]) -> FaultScenario:
    return FaultScenario(common_stack, rows)

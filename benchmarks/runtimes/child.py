"""A fresh process for what a candidate does, so that what it takes, or breaks, is its own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures import TimeoutError as TooLong  # the built-in one from Python 3.11 on
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from types import TracebackType
from typing import TypeVar

import psutil

from benchmarks.runtimes import work

T = TypeVar("T")


class Child:
    """Does one thing after the other in one process. limit: seconds for each; ready: when all is
    imported, its id."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.pool = ProcessPoolExecutor(1, get_context("spawn"))
        self.ready = self.pool.submit(work.process_id)

    def submit(self, function: Callable[..., T], *arguments: object) -> Future[T]:
        return self.pool.submit(function, *arguments)

    def __call__(self, function: Callable[..., T], *arguments: object) -> T:
        return self.submit(function, *arguments).result(self.limit)

    def close(self) -> None:
        """Whatever it is at: a compiler does not stop when asked to."""
        with contextlib.suppress(psutil.NoSuchProcess, BrokenProcessPool):
            process = psutil.Process(self.ready.result())
            for one in [*process.children(recursive=True), process]:
                one.kill()
        self.pool.shutdown()

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def reason(failure: Exception) -> str:
    """One line for a table."""
    if isinstance(failure, TooLong):
        return "took too long"
    if isinstance(failure, BrokenProcessPool):
        return "its process died"
    lines = str(failure).strip().splitlines() or [""]
    return f"{type(failure).__name__}: {lines[0][:120]}".replace("|", "/")

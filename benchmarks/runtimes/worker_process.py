"""A fresh process for a candidate, so that its memory and its crashes are its own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout  # the built-in one since Python 3.11
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from types import TracebackType
from typing import TypeVar

import psutil

from benchmarks.runtimes import worker

T = TypeVar("T")


class WorkerProcess:
    """Runs functions in one process, one after the other.

    limit: seconds for each call. ready: the process id, once everything is imported.
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.pool = ProcessPoolExecutor(1, get_context("spawn"))
        self.ready = self.pool.submit(worker.process_id)

    def submit(self, function: Callable[..., T], *arguments: object) -> Future[T]:
        return self.pool.submit(function, *arguments)

    def __call__(self, function: Callable[..., T], *arguments: object) -> T:
        return self.submit(function, *arguments).result(self.limit)

    def close(self) -> None:
        """Kills the process and its children: a compiler does not stop when asked to."""
        with contextlib.suppress(psutil.NoSuchProcess, BrokenProcessPool):
            process = psutil.Process(self.ready.result())
            for running in [*process.children(recursive=True), process]:
                running.kill()
        self.pool.shutdown()

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def reason(failure: Exception) -> str:
    """Returns one line for a table."""
    if isinstance(failure, FutureTimeout):
        return "took too long"
    if isinstance(failure, BrokenProcessPool):
        return "its process died"
    lines = str(failure).strip().splitlines() or [""]
    return f"{type(failure).__name__}: {lines[0][:120]}".replace("|", "/")

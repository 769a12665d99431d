"""What the launcher does when restarting a part fails."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from ray_stages.errors import StackFailed
from ray_stages.launcher.stack import START_ATTEMPTS, Stack
from ray_stages.settings import Settings

# Makes a stack whose tritonserver fails to start as often as given.
MakeFailingStack = Callable[[int], Stack]


@pytest.fixture
def make_failing_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeFailingStack:
    def make(times: int) -> Stack:
        settings = Settings(run_dir=tmp_path).with_free_ports()
        stack = Stack(settings, Console(file=io.StringIO()))
        failures = [StackFailed("tritonserver has ended")] * times

        def start() -> None:
            if failures:
                raise failures.pop()

        monkeypatch.setattr(stack, "_start_triton", start)
        monkeypatch.setattr(stack, "_start_ray", lambda report: None)
        monkeypatch.setattr(stack, "_ray_fault", lambda: None)
        monkeypatch.setattr("tenacity.nap.time.sleep", lambda seconds: None)
        return stack

    return make


def output_of(stack: Stack) -> str:
    assert isinstance(stack.console.file, io.StringIO)
    return stack.console.file.getvalue()


def test_a_restart_that_fails_is_tried_again(make_failing_stack: MakeFailingStack) -> None:
    stack = make_failing_stack(2)
    stack._restart("a stub has ended")
    assert output_of(stack).count("tritonserver has ended; trying again") == 2
    assert "back after" in output_of(stack)


def test_a_ray_that_is_back_is_not_started_again_for_another_try_of_tritonserver(
    make_failing_stack: MakeFailingStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = make_failing_stack(2)
    started: list[object] = []
    monkeypatch.setattr(stack, "_ray_fault", lambda: None if started else "Ray has ended")
    monkeypatch.setattr(stack, "_start_ray", started.append)
    stack._restart("Ray has ended")
    assert len(started) == 1


def test_a_first_start_that_fails_is_tried_again(make_failing_stack: MakeFailingStack) -> None:
    """Under load, tritonserver may abort while its stubs start (boost's lock_exception)."""
    stack = make_failing_stack(1)
    stack.start()
    assert output_of(stack).count("trying again") == 1
    assert "tritonserver ready" in output_of(stack)


def test_the_last_attempts_error_is_raised(make_failing_stack: MakeFailingStack) -> None:
    stack = make_failing_stack(START_ATTEMPTS)
    with pytest.raises(StackFailed, match="tritonserver has ended"):
        stack._restart("a stub has ended")


def test_nothing_is_tried_again_once_the_stack_is_stopped(
    make_failing_stack: MakeFailingStack,
) -> None:
    stack = make_failing_stack(2)
    stack.stopped.set()
    with pytest.raises(StackFailed):
        stack._restart("a stub has ended")
    assert "trying again" not in output_of(stack)

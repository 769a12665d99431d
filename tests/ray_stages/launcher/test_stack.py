"""What the launcher does when bringing a part back fails, too."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from ray_stages.errors import StackFailed
from ray_stages.launcher.stack import START_ATTEMPTS, Stack
from ray_stages.settings import Settings

# A server that does not come up, so many times in a row.
Failing = Callable[[int], Stack]


@pytest.fixture
def failing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Failing:
    def make(times: int) -> Stack:
        settings = Settings(run_dir=str(tmp_path)).with_free_ports()
        stack = Stack(settings, Console(file=io.StringIO()))
        failures = [StackFailed("tritonserver has ended")] * times

        def start() -> None:
            if failures:
                raise failures.pop()

        monkeypatch.setattr(stack, "_start_triton", start)
        monkeypatch.setattr(stack, "_start_ray", lambda say: None)
        monkeypatch.setattr(stack, "_ray_fault", lambda: None)
        monkeypatch.setattr("tenacity.nap.time.sleep", lambda seconds: None)
        return stack

    return make


def told(stack: Stack) -> str:
    assert isinstance(stack.console.file, io.StringIO)
    return stack.console.file.getvalue()


def test_a_server_that_does_not_come_back_at_once_is_tried_again(failing: Failing) -> None:
    stack = failing(2)
    stack._restart("a stub has ended", with_ray=False)
    assert told(stack).count("tritonserver has ended; trying again") == 2
    assert "back after" in told(stack)


def test_nor_does_one_have_to_come_up_at_once(failing: Failing) -> None:
    """Under load, tritonserver may abort while its stubs start (boost's lock_exception)."""
    stack = failing(1)
    stack.start()
    assert told(stack).count("trying again") == 1
    assert "tritonserver ready" in told(stack)


def test_one_that_never_comes_back_is_told(failing: Failing) -> None:
    stack = failing(START_ATTEMPTS)
    with pytest.raises(StackFailed, match="tritonserver has ended"):
        stack._restart("a stub has ended", with_ray=False)


def test_nothing_is_tried_again_once_it_is_to_stop(failing: Failing) -> None:
    stack = failing(2)
    stack.stopped.set()
    with pytest.raises(StackFailed):
        stack._restart("a stub has ended", with_ray=False)
    assert "trying again" not in told(stack)

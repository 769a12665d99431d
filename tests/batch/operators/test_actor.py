"""The base class of operators: errors, times, and rows that pass through."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import pytest

from batch.operators.actor import BusyClock, OperatorActor
from batch.rows import Row, to_table
from ray_stages.errors import InvalidRequest, StageFailed


class FragileActor(OperatorActor):
    """Raises for a batch with the prompt `breaks`, and refuses one with the prompt `refused`."""

    name = "encode"

    def __init__(self) -> None:
        super().__init__(threads=1)
        self.batches: list[list[str]] = []

    def compute(self, valid: Sequence[Row]) -> None:
        prompts = [row["prompt"] for row in valid]
        self.batches.append(prompts)
        if "breaks" in prompts:
            raise RuntimeError("the words of a prompt")
        if "refused" in prompts:
            raise InvalidRequest("prompt", "7 tokens", "at most 6")
        for row in valid:
            row["embeds"] = row["prompt"].encode()


def results(*prompts: str, status: str = "ok") -> list[Row]:
    rows = [{"key": p, "prompt": p, "status": status} for p in prompts]
    found: list[Row] = FragileActor()(to_table(rows)).to_pylist()
    return found


def test_rows_in_error_pass_through() -> None:
    (row,) = results("breaks", status="error")
    assert (row["status"], row["error"], row["encode_ms"]) == ("error", None, None)


def test_a_bad_row_fails_alone() -> None:
    found = results("a", "b", "breaks", "c", "refused")
    assert [row["status"] for row in found] == ["ok", "ok", "error", "ok", "error"]
    assert [row["embeds"] for row in found] == [b"a", b"b", None, b"c", None]
    assert [row["kind"] for row in found if row["kind"]] == ["RuntimeError", "invalid prompt"]


def test_the_message_of_a_foreign_error_is_left_out_since_it_may_quote_a_prompt() -> None:
    _, broken = results("a", "breaks")
    assert broken["error"] == "RuntimeError in an operator"


def test_an_operator_that_fails_on_all_rows_ends_the_run() -> None:
    with pytest.raises(StageFailed, match="encode: no row gets through"):
        results("breaks", "breaks")


def test_a_batch_of_refused_rows_does_not_end_the_run() -> None:
    assert [row["status"] for row in results("refused", "refused")] == ["error", "error"]


def test_each_row_has_its_share_of_the_time() -> None:
    first, second = results("a", "b")
    assert first["encode_ms"] == second["encode_ms"] > 0


def test_busy_times_of_overlapping_calls_add_up_to_the_whole_busy_time() -> None:
    clock, busy = BusyClock(), list[float]()

    def call(seconds: float) -> None:
        clock.begin()
        time.sleep(seconds)
        busy.append(clock.end())

    began = time.monotonic()
    calls = [threading.Thread(target=call, args=(seconds,)) for seconds in (0.05, 0.1, 0.15)]
    for one in calls:
        one.start()
    for one in calls:
        one.join()
    elapsed = time.monotonic() - began
    assert 0.15 <= sum(busy) <= elapsed

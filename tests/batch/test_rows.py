"""Names and seeds of rows."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.key_digests import digests, holds, twice
from batch.rows import MAX_KEY_BYTES, file_name, key_of, seed_of
from ray_stages.errors import InvalidRequest


def test_a_seed_is_that_of_its_key_for_ever() -> None:
    assert seed_of(7, "a") == 772975860
    assert len({seed_of(0, "a"), seed_of(1, "a"), seed_of(0, "b"), seed_of(1, "0")}) == 4


def test_a_key_is_made_of_its_columns() -> None:
    assert key_of(["animal", "n"], {"animal": " cat ", "n": 7, "x": 1}) == "cat-7"


@pytest.mark.parametrize("row", [{}, {"a": None}, {"a": "  "}, {"a": "x" * (MAX_KEY_BYTES + 1)}])
def test_a_key_that_is_no_good_is_refused(row: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest, match=r"^key: got"):
        key_of(["a"], row)


@given(st.sets(st.text(min_size=1), min_size=2, max_size=2))
def test_two_keys_never_share_a_file(keys: set[str]) -> None:
    assert len({file_name(key) for key in keys}) == 2


@given(st.text(min_size=1))
def test_a_file_stays_in_its_folder(key: str) -> None:
    name = file_name(key)
    assert not name.startswith(".")
    assert not set(name) & set("/\\\0:")


def test_known_keys_are_found_among_many() -> None:
    keys = [f"key {n}" for n in range(1000)]
    random.Random(0).shuffle(keys)
    known = digests(keys[:600])
    assert list(holds(known, keys)) == [True] * 600 + [False] * 400
    assert not holds(digests([]), ["a"]).any()


def test_keys_that_come_twice_are_told() -> None:
    assert not len(twice(digests("abc")))
    assert list(holds(twice(digests("abcb")), ["a", "b", "c"])) == [False, True, False]

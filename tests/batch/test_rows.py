"""Keys, file names and seeds of rows."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.key_digests import contains, digest_keys, duplicates
from batch.rows import MAX_KEY_BYTES, picture_file_name, row_key, row_seed
from ray_stages.errors import InvalidRequest


def test_a_key_always_has_the_same_seed() -> None:
    assert row_seed(7, "a") == 772975860
    assert len({row_seed(0, "a"), row_seed(1, "a"), row_seed(0, "b"), row_seed(1, "0")}) == 4


def test_a_key_is_made_of_its_columns() -> None:
    assert row_key(["animal", "n"], {"animal": " cat ", "n": 7, "x": 1}) == "cat-7"


@pytest.mark.parametrize("row", [{}, {"a": None}, {"a": "  "}, {"a": "x" * (MAX_KEY_BYTES + 1)}])
def test_an_invalid_key_is_refused(row: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest, match=r"^key: got"):
        row_key(["a"], row)


@given(st.sets(st.text(min_size=1), min_size=2, max_size=2))
def test_two_keys_never_share_a_file(keys: set[str]) -> None:
    assert len({picture_file_name(key) for key in keys}) == 2


@given(st.text(min_size=1))
def test_a_file_stays_in_its_folder(key: str) -> None:
    name = picture_file_name(key)
    assert not name.startswith(".")
    assert not set(name) & set("/\\\0:")


def test_known_keys_are_found_among_many() -> None:
    keys = [f"key {n}" for n in range(1000)]
    random.Random(0).shuffle(keys)
    known = digest_keys(keys[:600])
    assert list(contains(known, keys)) == [True] * 600 + [False] * 400
    assert not contains(digest_keys([]), ["a"]).any()


def test_repeated_keys_are_found() -> None:
    assert not len(duplicates(digest_keys("abc")))
    assert list(contains(duplicates(digest_keys("abcb")), ["a", "b", "c"])) == [False, True, False]

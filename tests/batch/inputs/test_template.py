"""Prompt templates."""

from __future__ import annotations

import math

import pytest

from batch.inputs.template import Template
from ray_stages.errors import InvalidRequest


def test_names_are_filled_in() -> None:
    template = Template.parse("prompt", "a {size} {colour} star, {{no. {number}}}")
    assert template.names == ["size", "colour", "number"]
    row = {"size": "large", "colour": " red ", "number": 7}
    assert template.fill(row) == "a large red star, {no. 7}"


def test_a_name_is_not_a_path_into_a_value() -> None:
    template = Template.parse("prompt", "{row.__class__} {x[0]}")
    assert template.names == ["row.__class__", "x[0]"]
    assert template.fill({"row.__class__": "a", "x[0]": "b"}) == "a b"


@pytest.mark.parametrize("text", ["{", "a {b", "{}", "{a!r}", "{a:>10}", "}"])
def test_an_invalid_template_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^prompt: got "):
        Template.parse("prompt", text)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "colour: got nothing, expected some text"),
        (math.nan, "colour: got nothing, expected some text"),
        (["red"], "colour: got a list, expected a text or a number"),
        (True, "colour: got a bool, expected a text or a number"),
    ],
)
def test_a_value_that_is_no_text_is_named_by_its_column(value: object, message: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        Template.parse("prompt", "{colour}").fill({"colour": value})
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("value", "words"),
    [
        *((12, "12"), (12.5, "12.5"), (12.0, "12"), (0.1, "0.1"), (0.10000000149011612, "0.1")),
        *((1234567.0, "1234567"), (1234.5678, "1234.5678"), (1e300, "1e+300")),
    ],
)
def test_numbers_are_written_as_people_do(value: float, words: str) -> None:
    assert Template.parse("prompt", "{n}").fill({"n": value}) == words

"""Rows of the input to rows that can be drawn, or their errors; and the look at all of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batch.inputs.input_check import survey
from batch.inputs.preparation import Preparation
from batch.key_digests import digests
from batch.rows import RECORD, seed_of
from ray_stages.errors import InvalidRequest
from tests.support.batch_inputs import pipeline_of, preparation_of, write_rows

Prepare = Callable[..., Preparation]
STAR = {"id": "a", "prompt": "a star"}


@pytest.fixture
def preparation(tmp_path: Path, checkpoint_folder: Callable[[str], Path]) -> Prepare:
    def make(*rows: dict[str, Any], **said: Any) -> Preparation:
        path = write_rows(tmp_path / "prompts.jsonl", rows or [STAR])
        model = checkpoint_folder("sd15")
        return preparation_of(pipeline_of(path, tmp_path / "out", model, **said))

    return make


def test_a_row_gets_all_that_its_picture_depends_on(preparation: Prepare) -> None:
    row = preparation(input={"key": "id"}, draw={"seed": 3}).prepare("p-1", STAR)
    seed = seed_of(3, "a")
    told = {"prompt": "a star", "key": "a", "seed": seed, "steps": 4, "status": "ok"}
    model = {"width": 64, "height": 64, "guidance_scale": 7.5, "scheduler": "pndm"}
    assert row.items() >= {**told, **model, "negative_prompt": "", "model": "sd15"}.items()


def test_without_a_key_a_row_goes_by_its_file_and_number(preparation: Prepare) -> None:
    row = preparation().prepare("prompts-0000001", STAR)
    assert (row["key"], row["seed"]) == ("prompts-0000001", seed_of(0, "prompts-0000001"))


def test_columns_set_parameters_where_the_pipeline_says_so(preparation: Prepare) -> None:
    columns = ["seed", "steps", "width", "guidance_scale", "scheduler", "negative_prompt"]
    said = {"seed": "9", "steps": 12.0, "width": "128", "guidance_scale": 2, "scheduler": "euler"}
    row = {**STAR, **said, "negative_prompt": None}
    prepared = preparation(draw={"columns": columns}).prepare("p", row)
    whole = {**said, "seed": 9, "width": 128, "negative_prompt": ""}
    assert prepared.items() >= whole.items()
    assert preparation().prepare("p", row)["steps"] == 4


@pytest.mark.parametrize(
    ("row", "kind", "error"),
    [
        ({"prompt": ""}, "invalid prompt", "prompt: got nothing, expected some text"),
        ({"prompt": float("nan")}, "invalid prompt", "prompt: got nothing, expected some text"),
        ({}, "invalid prompt", "prompt: got nothing, expected some text"),
        ({"prompt": ["x"]}, "invalid prompt", "prompt: got a list, expected a text or a number"),
        ({"prompt": "x" * 2001}, "invalid prompt", "prompt: got 2001 characters, expected at most"),
        ({"steps": "many"}, "invalid steps", "steps: got 'many', expected a whole number"),
        ({"steps": 1.5}, "invalid steps", "steps: got 1.5, expected a whole number"),
        ({"steps": True}, "invalid steps", "steps: got True, expected a whole number"),
        ({"steps": 151}, "invalid steps", "steps: got 151, expected 1 to 150"),
        ({"steps": 10**40}, "invalid steps", "steps: got 1000"),
        ({"seed": -1}, "invalid seed", "seed: got -1, expected 0 to"),
        ({"width": 100}, "invalid width", "width: got 100, expected a multiple of 8"),
        ({"scheduler": "best"}, "invalid scheduler", "scheduler: got 'best', expected one of"),
        ({"scheduler": 7}, "invalid scheduler", "scheduler: got a int, expected a text"),
        ({"id": ""}, "invalid key", "key: got nothing, expected a value in id"),
    ],
)
def test_a_bad_row_is_its_error(
    preparation: Prepare, row: dict[str, Any], kind: str, error: str
) -> None:
    made = preparation(
        input={"key": "id"}, draw={"columns": ["seed", "steps", "width", "scheduler"]}
    )
    whole = {"id": "a", **row} if "prompt" in row or not row else {**STAR, **row}
    prepared = made.prepare("p-1", whole)
    assert (prepared["status"], prepared["kind"]) == ("error", kind)
    assert prepared["error"].startswith(error)
    assert prepared["key"] == ("p-1" if kind == "invalid key" else "a")


def test_no_error_tells_what_a_prompt_says(preparation: Prepare) -> None:
    prepared = preparation().prepare("p-1", {"prompt": "secret " * 400})
    assert prepared["error"]
    assert "secret" not in prepared["error"]


def test_what_holds_for_all_rows_is_refused_at_once(preparation: Prepare) -> None:
    with pytest.raises(InvalidRequest, match="steps: got 0, expected 1 to 150"):
        preparation(draw={"steps": 0})


def test_a_join_adds_columns_by_a_key(preparation: Prepare, tmp_path: Path) -> None:
    outfits = [{"animal": "cat", "outfit": "hat"}, {"animal": "cat", "outfit": "tie"}]
    path = write_rows(tmp_path / "outfits.jsonl", [*outfits, {"animal": "dog", "outfit": "cap"}])
    join = {"path": str(path), "on": "animal"}
    made = preparation(join=join, prompt="a {animal} with a {outfit}")
    assert made.joined("p", {"animal": "dog"}) == [("p", {"animal": "dog", "outfit": "cap"})]
    prompts = {
        name: made.prepare(name, row)["prompt"] for name, row in made.joined("p", {"animal": "cat"})
    }
    assert prompts == {"p-1": "a cat with a hat", "p-2": "a cat with a tie"}
    assert made.joined("p", {"animal": "cow"}) == []
    left = preparation(join={**join, "how": "left"})
    assert left.joined("p", {"animal": "cow"}) == [("p", {"animal": "cow"})]


def test_a_join_finds_numbers_as_they_are_written_elsewhere(
    preparation: Prepare, tmp_path: Path
) -> None:
    path = write_rows(tmp_path / "n.jsonl", [{"n": "7", "is": "seven"}, {"n": None, "is": "no"}])
    made = preparation(join={"path": str(path), "on": "n"})
    assert [len(made.joined("p", {"n": value})) for value in (7, 7.0, " 7", 8, None, [7])] == [
        *(1, 1, 1, 0, 0, 0)
    ]


def test_a_join_on_a_column_that_is_not_there_is_refused(
    preparation: Prepare, tmp_path: Path
) -> None:
    path = write_rows(tmp_path / "outfits.jsonl", [{"animal": "cat"}])
    with pytest.raises(InvalidRequest, match=r"join\.on: got 'name', expected .*: animal"):
        preparation(join={"path": str(path), "on": "name"})


def test_a_survey_counts_what_is_left(preparation: Prepare) -> None:
    made = preparation(*({"id": n, "prompt": "x"} for n in "abcd"), input={"key": "id"})
    found = survey(made, digests(["b", "z"]), show=2)
    assert (found.rows, found.left, [row["key"] for row in found.first]) == (4, 3, ["a", "b"])


def test_a_survey_leaves_out_what_finds_no_match(preparation: Prepare, tmp_path: Path) -> None:
    path = write_rows(tmp_path / "second.jsonl", [{"id": "a", "more": "x"}])
    made = preparation(STAR, {"id": "b", "prompt": "y"}, join={"path": str(path), "on": "id"})
    found = survey(made, digests([]), show=0)
    assert (found.rows, found.unmatched) == (1, 1)


def test_a_limit_is_that_of_all_files(preparation: Prepare) -> None:
    made = preparation(*({"prompt": n} for n in "abcd"), limit=3)
    found = survey(made, digests([]), show=0)
    assert found.rows == 3
    assert list((found.preparation.limits or {}).values()) == [3]


@pytest.mark.parametrize(
    ("rows", "said", "message"),
    [
        ([{"text": "x"}], {}, r"column 'prompt': got .*prompts\.jsonl without it, expected.* text"),
        ([STAR], {"draw": {"columns": ["steps"]}}, "column 'steps': got"),
        ([STAR], {"input": {"key": ["id", "n"]}}, "column 'n': got"),
        ([STAR, STAR], {"input": {"key": "id"}}, "id: got 'a' in more than one row"),
    ],
)
def test_a_bad_column_stops_it_before_any_work(
    preparation: Prepare, rows: list[dict[str, Any]], said: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidRequest, match=message):
        survey(preparation(*rows, **said), digests([]), show=0)


def test_a_file_without_rows_is_refused(preparation: Prepare, tmp_path: Path) -> None:
    made = preparation()
    (tmp_path / "prompts.jsonl").write_text("")
    with pytest.raises(InvalidRequest, match=r"input\.path: got no rows"):
        survey(made, digests([]), show=0)


def test_every_field_that_is_prepared_has_a_place_in_the_record(preparation: Prepare) -> None:
    assert preparation().prepare("p", STAR).keys() <= set(RECORD.names)

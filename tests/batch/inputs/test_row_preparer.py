"""Preparing rows, joining them, and checking the whole input."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batch.inputs.input_check import check_input
from batch.inputs.row_preparer import RowPreparer
from batch.key_digests import WrittenRows, contains, digest_keys
from batch.plan import describe_plan
from batch.rows import RECORD_SCHEMA, row_seed, version
from ray_stages.errors import InvalidRequest
from tests.support.batch_inputs import preparer_for, torch_pipeline, write_rows

MakePreparer = Callable[..., RowPreparer]
STAR = {"id": "a", "prompt": "a star"}
NOTHING = WrittenRows(digest_keys([]), digest_keys([]))


@pytest.fixture
def make_preparer(tmp_path: Path, checkpoint_folder: Callable[[str], Path]) -> MakePreparer:
    def make(*rows: dict[str, Any], **options: Any) -> RowPreparer:
        path = write_rows(tmp_path / "prompts.jsonl", rows or [STAR])
        model = checkpoint_folder("sd15")
        return preparer_for(torch_pipeline(path, tmp_path / "out", model, **options))

    return make


def test_a_row_gets_all_that_its_picture_depends_on(make_preparer: MakePreparer) -> None:
    row = make_preparer(input={"key": "id"}, draw={"seed": 3}).prepare("p-1", STAR)
    seed = row_seed(3, "a")
    fields = {"prompt": "a star", "key": "a", "seed": seed, "steps": 4, "status": "ok"}
    model = {"width": 64, "height": 64, "guidance_scale": 7.5, "scheduler": "pndm"}
    assert row.items() >= {**fields, **model, "negative_prompt": "", "model": "sd15"}.items()


def test_without_a_key_a_row_goes_by_its_file_and_number(make_preparer: MakePreparer) -> None:
    row = make_preparer().prepare("prompts-0000001", STAR)
    assert (row["key"], row["seed"]) == ("prompts-0000001", row_seed(0, "prompts-0000001"))


def test_columns_set_parameters_where_the_pipeline_says_so(make_preparer: MakePreparer) -> None:
    columns = ["seed", "steps", "width", "guidance_scale", "scheduler", "negative_prompt"]
    options = {
        "seed": "9",
        "steps": 12.0,
        "width": "128",
        "guidance_scale": 2,
        "scheduler": "euler",
    }
    row = {**STAR, **options, "negative_prompt": None}
    prepared = make_preparer(draw={"columns": columns}).prepare("p", row)
    whole = {**options, "seed": 9, "width": 128, "negative_prompt": ""}
    assert prepared.items() >= whole.items()
    assert make_preparer().prepare("p", row)["steps"] == 4


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
def test_a_bad_row_becomes_its_error(
    make_preparer: MakePreparer, row: dict[str, Any], kind: str, error: str
) -> None:
    preparer = make_preparer(
        input={"key": "id"}, draw={"columns": ["seed", "steps", "width", "scheduler"]}
    )
    whole = {"id": "a", **row} if "prompt" in row or not row else {**STAR, **row}
    prepared = preparer.prepare("p-1", whole)
    assert (prepared["status"], prepared["kind"]) == ("error", kind)
    assert prepared["error"].startswith(error)
    assert prepared["key"] == ("p-1" if kind == "invalid key" else "a")


def test_a_cut_row_is_an_error_with_its_number(make_preparer: MakePreparer, tmp_path: Path) -> None:
    """Its cells may belong to other columns, so neither its key nor a join counts."""
    path = tmp_path / "p.csv"
    path.write_text("id,prompt\na,a large yellow star, on a black background\na,a ring\n")
    second = write_rows(tmp_path / "second.jsonl", [{"id": "a", "more": "x"}])
    preparer = make_preparer(
        input={"path": str(path), "key": "id"}, join={"path": str(second), "on": "id"}
    )
    check = check_input(preparer, NOTHING, show=2)
    cut, whole = check.first_rows
    assert (cut["key"], cut["kind"], "prompt" in cut) == ("p-0000001", "invalid row", False)
    assert cut["error"].startswith("row: got 3 cells in line 2, expected 2 as in the header")
    assert (whole["key"], whole["prompt"]) == ("a", "a ring")


def test_a_cut_row_of_the_second_table_is_refused(
    make_preparer: MakePreparer, tmp_path: Path
) -> None:
    (tmp_path / "second.csv").write_text("id,more\na,x,y\n")
    with pytest.raises(InvalidRequest, match=r"join\.path: got second-0000001: 3 cells in line 2"):
        make_preparer(join={"path": str(tmp_path / "second.csv"), "on": "id"})


def test_no_error_quotes_a_prompt(make_preparer: MakePreparer) -> None:
    prepared = make_preparer().prepare("p-1", {"prompt": "secret " * 400})
    assert prepared["error"]
    assert "secret" not in prepared["error"]


def test_a_wrong_parameter_of_all_rows_is_refused_at_once(make_preparer: MakePreparer) -> None:
    with pytest.raises(InvalidRequest, match="steps: got 0, expected 1 to 150"):
        make_preparer(draw={"steps": 0})


def test_a_join_adds_columns_by_a_key(make_preparer: MakePreparer, tmp_path: Path) -> None:
    outfits = [{"animal": "cat", "outfit": "hat"}, {"animal": "cat", "outfit": "tie"}]
    path = write_rows(tmp_path / "outfits.jsonl", [*outfits, {"animal": "dog", "outfit": "cap"}])
    join = {"path": str(path), "on": "animal"}
    preparer = make_preparer(join=join, prompt="a {animal} with a {outfit}")
    assert preparer.join("p", {"animal": "dog"}) == [("p", {"animal": "dog", "outfit": "cap"})]
    prompts = {
        name: preparer.prepare(name, row)["prompt"]
        for name, row in preparer.join("p", {"animal": "cat"})
    }
    assert prompts == {"p-1": "a cat with a hat", "p-2": "a cat with a tie"}
    assert preparer.join("p", {"animal": "cow"}) == []
    left = make_preparer(join={**join, "how": "left"})
    assert left.join("p", {"animal": "cow"}) == [("p", {"animal": "cow"})]


def test_a_join_finds_numbers_as_they_are_written_elsewhere(
    make_preparer: MakePreparer, tmp_path: Path
) -> None:
    path = write_rows(tmp_path / "n.jsonl", [{"n": "7", "is": "seven"}, {"n": None, "is": "no"}])
    preparer = make_preparer(join={"path": str(path), "on": "n"})
    assert [len(preparer.join("p", {"n": value})) for value in (7, 7.0, " 7", 8, None, [7])] == [
        *(1, 1, 1, 0, 0, 0)
    ]


@pytest.mark.parametrize("second", [["7", "1234567", "7.5"], ["7.0", "1234567.0", "7.50"]])
def test_a_join_finds_whole_numbers_of_pandas(
    make_preparer: MakePreparer, tmp_path: Path, second: list[str]
) -> None:
    path = write_rows(tmp_path / "n.jsonl", [{"n": n, "is": n} for n in second])
    preparer = make_preparer(join={"path": str(path), "on": "n"})
    asked = ("7", "7.0", 7.0, "7.00", 1234567.0, "1234567", 1234568.0, "07", "v7.0")
    assert [len(preparer.join("p", {"n": value})) for value in asked] == [1, 1, 1, 1, 1, 1, 0, 0, 0]


def test_a_join_keeps_versions_apart(make_preparer: MakePreparer, tmp_path: Path) -> None:
    path = write_rows(tmp_path / "n.jsonl", [{"n": "1", "is": "a"}, {"n": "1.0", "is": "b"}])
    preparer = make_preparer(join={"path": str(path), "on": "n"})
    found = [row["is"] for n in ("1", "1.0") for _, row in preparer.join("p", {"n": n})]
    assert found == ["a", "b"]


def test_a_join_on_a_column_that_is_not_there_is_refused(
    make_preparer: MakePreparer, tmp_path: Path
) -> None:
    path = write_rows(tmp_path / "outfits.jsonl", [{"animal": "cat"}])
    with pytest.raises(InvalidRequest, match=r"join\.on: got 'name', expected .*: animal"):
        make_preparer(join={"path": str(path), "on": "name"})


def written_of(preparer: RowPreparer, *rows: dict[str, Any]) -> WrittenRows:
    """Returns what the records hold once these rows are drawn, named p-1, p-2, …"""
    made = [preparer.prepare(f"prompts-{n:07d}", row) for n, row in enumerate(rows, start=1)]
    versions = [version(row["key"], row["made_of"]) for row in made]
    return WrittenRows(digest_keys(row["key"] for row in made), digest_keys(versions))


def test_a_changed_row_is_to_draw_again(make_preparer: MakePreparer) -> None:
    """A row on top shifts the numbers that rows without a key go by."""
    before = written_of(make_preparer(), {"prompt": "a ring"}, {"prompt": "a star"})
    rows = [{"prompt": "a heart"}, {"prompt": "a star"}, {"prompt": "a moon"}]
    check = check_input(make_preparer(*rows), before, show=0)
    assert (check.rows, check.pending, len(check.changed), check.gone) == (3, 2, 1, 0)
    assert contains(check.changed, ["prompts-0000001"]).all()
    plan = describe_plan(check, dry_run=False)
    expected = "1 changed since they were written, to draw again"
    assert plan == f"3 rows, 2 to draw, 1 written before, {expected}"
    fewer = check_input(make_preparer({"prompt": "a ring"}), before, show=0)
    assert (fewer.pending, fewer.gone) == (0, 1)
    assert check_input(make_preparer({"prompt": "a ring"}, limit=1), before, show=0).gone == 0


@pytest.mark.parametrize(
    "change",
    [{"steps": 5}, {"negative_prompt": "dull"}, {"seed": 1}, {"prompt": "a ring"}, {"prompt": ""}],
)
def test_every_parameter_counts_as_a_change(
    make_preparer: MakePreparer, change: dict[str, Any]
) -> None:
    preparer = make_preparer(draw={"columns": ["steps", "negative_prompt", "seed"]})
    first, same, changed = (preparer.prepare("p", row) for row in (STAR, STAR, {**STAR, **change}))
    assert first["made_of"] == same["made_of"] != changed["made_of"]


def test_the_check_counts_what_is_left(make_preparer: MakePreparer) -> None:
    preparer = make_preparer(*({"id": n, "prompt": "x"} for n in "abcd"), input={"key": "id"})
    check = check_input(
        preparer,
        written_of(preparer, {"id": "b", "prompt": "x"}, {"id": "z", "prompt": "x"}),
        show=2,
    )
    assert (check.rows, check.pending, [row["key"] for row in check.first_rows]) == (
        4,
        3,
        ["a", "b"],
    )


def test_the_check_leaves_out_what_finds_no_match(
    make_preparer: MakePreparer, tmp_path: Path
) -> None:
    path = write_rows(tmp_path / "second.jsonl", [{"id": "a", "more": "x"}])
    preparer = make_preparer(STAR, {"id": "b", "prompt": "y"}, join={"path": str(path), "on": "id"})
    check = check_input(preparer, NOTHING, show=0)
    assert (check.rows, check.unmatched) == (1, 1)


def test_the_limit_counts_the_rows_of_all_files(make_preparer: MakePreparer) -> None:
    preparer = make_preparer(*({"prompt": n} for n in "abcd"), limit=3)
    check = check_input(preparer, NOTHING, show=0)
    assert check.rows == 3
    assert list((check.preparer.row_limits or {}).values()) == [3]


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ([{"text": "x"}], {}, r"column 'prompt': got .*prompts\.jsonl without it, expected.* text"),
        ([STAR], {"draw": {"columns": ["steps"]}}, "column 'steps': got"),
        ([STAR], {"input": {"key": ["id", "n"]}}, "column 'n': got"),
        ([STAR, STAR], {"input": {"key": "id"}}, "id: got 'a' in more than one row"),
    ],
)
def test_a_missing_or_repeated_key_or_column_is_refused_before_any_work(
    make_preparer: MakePreparer, rows: list[dict[str, Any]], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidRequest, match=message):
        check_input(make_preparer(*rows, **options), NOTHING, show=0)


def test_a_file_without_rows_is_refused(make_preparer: MakePreparer, tmp_path: Path) -> None:
    preparer = make_preparer()
    (tmp_path / "prompts.jsonl").write_text("")
    with pytest.raises(InvalidRequest, match=r"input\.path: got no rows"):
        check_input(preparer, NOTHING, show=0)


def test_every_field_that_is_prepared_has_a_place_in_the_record(
    make_preparer: MakePreparer,
) -> None:
    assert make_preparer().prepare("p", STAR).keys() <= set(RECORD_SCHEMA.names)

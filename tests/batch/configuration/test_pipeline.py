"""A pipeline's settings: from a file or from flags, and what is refused, by its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from batch.command import arguments_of, pipeline_of
from batch.configuration.pipeline import load, parse
from ray_stages.errors import InvalidRequest

LEAST: dict[str, Any] = {"input": {"path": "p.csv"}, "prompt": "{a}", "output": {"path": "out"}}


def test_what_is_left_out_has_its_default() -> None:
    pipeline = parse(LEAST)
    assert pipeline.input.path == ("p.csv",)
    assert pipeline.stations == ("encode", "denoise", "decode")
    assert pipeline.operator("denoise").overlap > 1


def test_an_operator_keeps_its_own_defaults_for_what_is_not_said() -> None:
    pipeline = parse({**LEAST, "operators": {"denoise": {"gpus": 0.5, "resources": {"big": 1}}}})
    denoise = pipeline.operator("denoise")
    assert (denoise.gpus, denoise.resources, denoise.cpus) == (0.5, {"big": 1.0}, 1.0)
    assert denoise.overlap == parse(LEAST).operator("denoise").overlap


def test_an_enhancer_is_an_operator_more() -> None:
    assert parse({**LEAST, "enhance": {}}).stations == ("enhance", "encode", "denoise", "decode")


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"input": {}}, "input.path: got nothing, expected a value"),
        ({"input": {"path": "p.csv", "keys": "a"}}, "input: got 'keys', expected one of path,"),
        ({"input": {"path": "p.csv", "format": "xls"}}, "input.format: got 'xls', expected one of"),
        ({"draw": {"steps": "many"}}, "draw.steps: got 'many', expected a whole number"),
        ({"draw": {"steps": True}}, "draw.steps: got True, expected a whole number"),
        ({"draw": {"columns": ["hue"]}}, "draw.columns: got 'hue', expected one of seed, steps"),
        ({"draw": {"columns": ["hue", "seed"]}}, "draw.columns: got 'hue'"),
        ({"draw": 7}, "draw: got 7, expected a table"),
        ({"output": {"path": "o", "rows": 0}}, "output.rows: got 0, expected at least 1"),
        ({"output": {"path": "o", "pictures": "gif"}}, "output.pictures: got 'gif', expected"),
        ({"join": {"path": "j.csv", "on": "a", "how": "full"}}, "join.how: got 'full'"),
        ({"enhance": {"top_p": 0.0}}, "enhance.top_p: got 0.0, expected over 0, to 1"),
        ({"operators": {"paint": {}}}, "operators: got 'paint', expected one of enhance, encode"),
        ({"operators": {"paint": {}, "decode": {}}}, "operators: got 'paint'"),
        ({"operators": {"decode": {"cpus": -1}}}, "operators.decode.cpus: got -1, expected at"),
        ({"operators": {"decode": {"runtime": "tvm"}}}, "operators.decode.runtime: got 'tvm'"),
        ({"colour": "red"}, "pipeline: got 'colour', expected one of input, prompt"),
    ],
)
def test_what_is_no_good_is_refused_by_name(said: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse({**LEAST, **said})
    assert str(refused.value).startswith(message)


def test_a_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    file = tmp_path / "pipeline.toml"
    file.write_text("prompt = ")
    with pytest.raises(ValueError, match=r"pipeline\.toml"):
        load(file)


def test_flags_say_what_a_file_says() -> None:
    words = "render a.csv b.csv --column prompt --out o --key id --steps 4 --columns seed --limit 3"
    pipeline = pipeline_of(arguments_of(words.split()))
    said = {
        "input": {"path": ["a.csv", "b.csv"], "key": "id"},
        "prompt": "{prompt}",
        "draw": {"steps": 4, "columns": "seed"},
        "output": {"path": "o", "pictures": "both"},
        "limit": 3,
    }
    assert pipeline == parse(said)


def test_a_limit_below_none_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="limit: got -1"):
        pipeline_of(arguments_of(["render", "a.csv", "--out", "o", "--limit", "-1"]))

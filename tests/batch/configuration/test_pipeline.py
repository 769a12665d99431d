"""The configuration of a run: defaults, options of the command line, and refused values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from batch.command import parse_arguments, pipeline_from
from batch.configuration.pipeline import load_pipeline, parse_pipeline
from ray_stages.errors import InvalidRequest

MINIMAL: dict[str, Any] = {"input": {"path": "p.csv"}, "prompt": "{a}", "output": {"path": "out"}}


def test_missing_values_have_their_defaults() -> None:
    pipeline = parse_pipeline(MINIMAL)
    assert pipeline.input.path == ("p.csv",)
    assert pipeline.operator_names == ("encode", "denoise", "decode")
    assert pipeline.operator("denoise").overlap > 1


def test_an_operator_keeps_its_own_defaults_for_missing_values() -> None:
    pipeline = parse_pipeline(
        {**MINIMAL, "operators": {"denoise": {"gpus": 0.5, "resources": {"big": 1}}}}
    )
    denoise = pipeline.operator("denoise")
    assert (denoise.gpus, denoise.resources, denoise.cpus) == (0.5, {"big": 1.0}, 1.0)
    assert denoise.overlap == parse_pipeline(MINIMAL).operator("denoise").overlap


def test_enhance_adds_an_operator() -> None:
    assert parse_pipeline({**MINIMAL, "enhance": {}}).operator_names == (
        "enhance",
        "encode",
        "denoise",
        "decode",
    )


@pytest.mark.parametrize(
    ("given", "message"),
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
def test_a_wrong_value_is_refused_by_its_name(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse_pipeline({**MINIMAL, **given})
    assert str(refused.value).startswith(message)


def test_a_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    file = tmp_path / "pipeline.toml"
    file.write_text("prompt = ")
    with pytest.raises(ValueError, match=r"pipeline\.toml"):
        load_pipeline(file)


def test_options_give_the_same_pipeline_as_a_file() -> None:
    command = (
        "render a.csv b.csv --column prompt --out o --key id --steps 4 --columns seed --limit 3"
    )
    pipeline = pipeline_from(parse_arguments(command.split()))
    given = {
        "input": {"path": ["a.csv", "b.csv"], "key": "id"},
        "prompt": "{prompt}",
        "draw": {"steps": 4, "columns": "seed"},
        "output": {"path": "o", "pictures": "both"},
        "limit": 3,
    }
    assert pipeline == parse_pipeline(given)


def test_a_negative_limit_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="limit: got -1"):
        pipeline_from(parse_arguments(["render", "a.csv", "--out", "o", "--limit", "-1"]))

"""The tools of `make fuzz` and `make soak` find what they are meant to find."""

from __future__ import annotations

import contextlib
import json
import math
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from tests.fuzz import model_configs, requests, trends
from tests.fuzz.findings import Findings, read
from tests.fuzz.processes import Sample, process_name, replaced
from tests.fuzz.verdicts import Verdict


def sampled(name: str, *values: float) -> list[Sample]:
    """Returns one sample per minute."""
    return [Sample(60.0 * minute, {}, {name: value}) for minute, value in enumerate(values)]


@pytest.mark.parametrize(
    ("name", "values", "is_flat"),
    [
        ("gateway RSS MB", [100, 150, *[200] * 30], True),  # warmed up, then level
        ("gateway RSS MB", [100 + 2.0 * i for i in range(32)], False),  # 120 MB an hour
        ("gateway RSS MB", [100 + 0.5 * i for i in range(32)], True),
        ("gateway RSS MB", [200 - 5.0 * i for i in range(32)], True),  # given back
        ("gateway handles", [20.0 + i for i in range(32)], False),
        ("gateway handles", [20.0 + i % 5 for i in range(32)], True),
        ("/dev/shm files", [6.0 + i for i in range(32)], False),
    ],
)
def test_what_rises_is_not_flat(name: str, values: list[float], is_flat: bool) -> None:
    (trend,) = trends.fit_trends(sampled(name, *values))
    assert trend.is_flat == is_flat
    assert ("NOT FLAT" in trends.table([trend])) != is_flat


@pytest.mark.parametrize(
    ("command", "role"),
    [
        ("ray::ServeReplica:unet-1f2e3d4c:unet", "replica unet"),
        ("/x/triton_python_backend_stub /y/model_repository/cancel/1/model.py z", "stub cancel"),
        ("/x/bin/tritonserver --id=relay", "tritonserver"),
        ("python -m gateway", "gateway"),
        ("ray::IDLE", ""),
        ("sleep 1", ""),
    ],
)
def test_a_process_is_known_by_its_command(command: str, role: str) -> None:
    assert process_name(command) == role


def test_a_process_that_died_and_came_back_is_noticed() -> None:
    before = Sample(0.0, {"gateway": 1, "tritonserver": 2, "raylet": 3}, {})
    after = Sample(1.0, {"gateway": 1, "tritonserver": 4}, {})
    assert replaced(before, after) == ["tritonserver", "raylet"]


@pytest.mark.parametrize(
    ("code", "details", "wrong"),
    [
        ("OK", "", False),
        ("INVALID_ARGUMENT", "steps: got 0, expected 1 to 150", False),
        ("UNAVAILABLE", "unet: the deadline of request x has passed", False),
        ("UNAVAILABLE", "unet: 1 more on 256 pictures in flight, the limit is 256", True),
        ("INTERNAL", "unet failed; its log knows request x", True),
        ("UNKNOWN", "Stream removed", True),
        ("DEADLINE_EXCEEDED", "", True),
    ],
)
def test_an_answer_is_judged(code: str, details: str, wrong: bool) -> None:
    assert bool(Verdict.of(code, details).wrong) == wrong


def test_every_model_is_known_with_its_types() -> None:
    models = {model.name: model for model in model_configs.models()}
    assert len(models) == 9
    assert [m for m in models if models[m].streams] == ["stable_diffusion_stream", "unet_stream"]
    inputs = {given.name: given for given in models["image_to_image"].inputs}
    assert inputs["init_image"].datatype == "BYTES"
    assert inputs["seed"].dims == (-1,)


def test_no_large_shape_is_declared_in_json() -> None:
    """tritonserver 2.51 would allocate it, and could fill the machine's memory."""

    @settings(max_examples=100, suppress_health_check=list(HealthCheck), deadline=None)
    @given(requests.http_requests())
    def shapes_are_small(request: requests.HttpRequest) -> None:
        with contextlib.suppress(ValueError):
            document = json.loads(request.body)
            inputs = document.get("inputs", []) if isinstance(document, dict) else []
            for one in inputs if isinstance(inputs, list) and request.length is None else []:
                shape = one.get("shape", []) if isinstance(one, dict) else []
                assert math.prod(map(abs, shape)) <= requests.MAX_JSON_ELEMENTS

    shapes_are_small()


def test_findings_outlive_their_writer(tmp_path: Path) -> None:
    findings = Findings(tmp_path / "a.json")
    findings.codes["ask OK"] += 2
    findings.add("an error", findings.begin("a case"))
    findings.add("an error", "the same again")
    findings.write()
    assert read(tmp_path / "a.json") == {"codes": {"ask OK": 2}, "wrong": {"an error": "'a case'"}}
    assert (tmp_path / "a.last").read_text() == "'a case'"
    assert read(tmp_path / "none.json")["codes"] == {}

"""Fields by the names of other libraries, unknown fields, and fields without a value."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from gateway.api.field_names import OPENAI_ONLY, SYNONYMS
from tests.support.fake_triton_server import FakeTriton, png_of_seed
from tests.support.gateways import RunningGateway
from tests.support.paths import ROOT

GENERATIONS, JOBS, EDITS = "/v1/images/generations", "/v1/jobs", "/v1/images/edits"
OF_OTHERS: dict[str, Any] = {"num_inference_steps": 4, "cfg_scale": 2.5, "sampler_name": "euler"}
OURS: dict[str, Any] = {"steps": [4], "guidance_scale": [2.5], "scheduler": [b"euler"]}


def post(gateway: RunningGateway, path: str, fields: dict[str, Any]) -> Any:
    if path == EDITS:
        image = {"image": ("a.png", png_of_seed(1))}
        return gateway.http.post(path, data={"prompt": "a", **fields}, files=image)
    return gateway.http.post(path, json={"prompt": "a", **fields})


def drawn(fake_triton: FakeTriton) -> dict[str, Any]:
    [request] = fake_triton.requests
    return {name: tensor.values for name, tensor in request.inputs.items()}


def refusal(answer: Any) -> tuple[int, str, str]:
    error = answer.json()["error"]
    return answer.status_code, error["param"], error["message"]


@pytest.mark.parametrize("path", [GENERATIONS, EDITS, "/imagine"])
def test_names_of_other_libraries(
    gateway: RunningGateway, fake_triton: FakeTriton, path: str
) -> None:
    fields = {**OF_OTHERS, "width": 64, "height": 128}
    if path == "/imagine":
        answer = gateway.http.get(path, params={"prompt": "a", **fields})
    else:
        answer = post(gateway, path, fields)
    assert answer.status_code == 200
    expected = {**OURS, "width": [64], "height": [128]}
    assert {name: drawn(fake_triton)[name] for name in expected} == expected


def test_a_job_takes_them_too(gateway: RunningGateway, fake_triton: FakeTriton) -> None:
    id = post(gateway, JOBS, {**OF_OTHERS, "num_outputs": 2}).json()["id"]
    gateway.wait_for_job(id)
    assert {name: drawn(fake_triton)[name] for name in OURS} == OURS
    assert len(drawn(fake_triton)["prompt"]) == 2


def test_two_names_for_one_field(gateway: RunningGateway, fake_triton: FakeTriton) -> None:
    both = {"steps": 4, "num_inference_steps": 5}
    assert refusal(post(gateway, GENERATIONS, both))[:2] == (400, "steps")
    assert post(gateway, GENERATIONS, {**both, "steps": 5}).status_code == 200
    assert drawn(fake_triton)["steps"] == [5]


@pytest.mark.parametrize("path", [GENERATIONS, EDITS, JOBS])
@pytest.mark.parametrize(
    ("field", "nearest"),
    [
        *(("step", "steps"), ("sede", "seed"), ("negativ_prompt", "negative_prompt")),
        *(("num_inference_step", "steps"), ("Scheduler", "scheduler")),
    ],
)
def test_an_unknown_field(
    gateway: RunningGateway, fake_triton: FakeTriton, path: str, field: str, nearest: str
) -> None:
    status, param, message = refusal(post(gateway, path, {field: "2"}))
    assert (status, param) == (400, field)
    assert message == f"{field}: unknown field; did you mean {nearest}?"
    assert not fake_triton.requests


def test_an_unknown_field_of_the_query(gateway: RunningGateway) -> None:
    answer = gateway.http.get("/imagine", params={"prompt": "a", "step": 2})
    assert refusal(answer) == (400, "step", "step: unknown field; did you mean steps?")
    status, _, message = refusal(gateway.http.get("/imagine", params={"prompt": "a", "zzz": 1}))
    assert status == 400
    assert "img_size" in message


def test_fields_that_only_openai_has(gateway: RunningGateway) -> None:
    fields = dict.fromkeys(OPENAI_ONLY, "auto")
    assert post(gateway, GENERATIONS, fields).status_code == 200
    assert refusal(post(gateway, GENERATIONS, {"background": "transparent"}))[:2] == (
        400,
        "background",
    )


@pytest.mark.parametrize("field", ["image", "mask", "strength", "denoising_strength"])
def test_fields_of_a_picture_without_one(
    gateway: RunningGateway, fake_triton: FakeTriton, field: str
) -> None:
    status, param, message = refusal(post(gateway, GENERATIONS, {field: 0.5}))
    assert (status, param) == (400, field)
    assert "/v1/images/edits" in message
    assert refusal(post(gateway, JOBS, {"strength": 0.5}))[:2] == (400, "strength")
    assert not fake_triton.requests


def test_null_is_left_out(gateway: RunningGateway, fake_triton: FakeTriton) -> None:
    """As OpenAI's own clients send it."""
    fields = ("n", "seed", "steps", "size", "width", "response_format", "stream", "quality")
    assert post(gateway, GENERATIONS, dict.fromkeys(fields)).status_code == 200
    assert sorted(drawn(fake_triton)) == ["prompt", "seed"]
    assert post(gateway, JOBS, {"previews": None, "n": None}).status_code == 202
    answer = gateway.http.post(GENERATIONS, json={"prompt": None})
    assert refusal(answer) == (400, "prompt", "prompt: Field required")


def test_an_empty_value_is_left_out(gateway: RunningGateway, fake_triton: FakeTriton) -> None:
    query = "/imagine?prompt=a&steps=&seed=&guidance_scale=&scheduler=&img_size="
    assert gateway.http.get(query).status_code == 200
    assert sorted(drawn(fake_triton)) == ["prompt", "seed"]
    assert post(gateway, EDITS, {"n": "", "steps": "", "size": ""}).status_code == 200


@pytest.mark.parametrize("seed", [-1, "-1", -7])
def test_a_negative_seed(gateway: RunningGateway, seed: object) -> None:
    answers = [
        post(gateway, GENERATIONS, {"seed": seed}),
        gateway.http.get("/imagine", params={"prompt": "a", "seed": str(seed)}),
    ]
    for answer in answers:
        status, param, message = refusal(answer)
        assert (status, param) == (400, "seed")
        assert message.endswith("leave it out for a random one")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"size": "64x64", "width": 32}, "size"),
        ({"size": "٦٤x٦٤"}, "size"),
        ({"negative_prompt": "\ud800"}, "negative_prompt"),
        ({"scheduler": "\ud800"}, "scheduler"),
    ],
)
def test_values_that_name_their_field(
    gateway: RunningGateway, fake_triton: FakeTriton, fields: dict[str, Any], param: str
) -> None:
    body = json.dumps({"prompt": "a", **fields})
    answer = gateway.http.post(
        GENERATIONS, content=body, headers={"Content-Type": "application/json"}
    )
    assert refusal(answer)[:2] == (400, param)
    assert not fake_triton.requests


@pytest.mark.parametrize("name", ["width", "height", "img_size"])
def test_a_size_of_zero_is_not_the_default(
    gateway: RunningGateway, fake_triton: FakeTriton, name: str
) -> None:
    """Triton is asked for it, and refuses it."""
    gateway.http.get("/imagine", params={"prompt": "a", "img_size": 64, name: 0})
    assert [0] in (drawn(fake_triton)["width"], drawn(fake_triton)["height"])


@pytest.mark.parametrize(
    "query", ["prompt=caf%E9", "prompt=a&negative_prompt=%ff", "prompt=%c3%28"]
)
def test_a_query_that_is_not_utf_8(
    gateway: RunningGateway, fake_triton: FakeTriton, query: str
) -> None:
    status, param, _ = refusal(gateway.http.get(f"/imagine?{query}"))
    assert (status, param) == (400, query.split("&")[-1].partition("=")[0])
    assert not fake_triton.requests
    assert gateway.http.get("/imagine?prompt=caf%C3%A9").status_code == 200
    assert drawn(fake_triton)["prompt"] == ["café".encode()]


def test_the_documented_names() -> None:
    text = (ROOT / "docs/http-api.md").read_text().split("## Names of other libraries")[1]
    rows = re.findall(r"^\| (`.*`) \| `(\w+)` \|$", text, re.MULTILINE)
    assert {n: own for names, own in rows for n in re.findall(r"`(\w+)`", names)} == SYNONYMS

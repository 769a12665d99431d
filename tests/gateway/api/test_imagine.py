"""`GET /imagine`, and the caching of its responses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.fake_triton_server import FakeTriton, TritonError, png_of_seed
from tests.support.gateways import RunningGateway

SEEDED: dict[str, Any] = {"prompt": "a star", "seed": 7}


def test_a_picture_by_its_address(gateway: RunningGateway, fake_triton: FakeTriton) -> None:
    options: dict[str, Any] = {"steps": 4, "guidance": 2.5, "scheduler": "euler"}
    options |= {"negative_prompt": "blur"}
    answer = gateway.http.get(
        "/imagine", params={**SEEDED, **options, "img_size": 64, "width": 128}
    )
    assert (answer.status_code, answer.content) == (200, png_of_seed(7))
    assert (answer.headers["content-type"], answer.headers["x-seed"]) == ("image/png", "7")
    [request] = fake_triton.requests
    assert {name: tensor.values for name, tensor in request.inputs.items()} == {
        "prompt": [b"a star"],
        "negative_prompt": [b"blur"],
        "seed": [7],
        "steps": [4],
        "guidance_scale": [2.5],
        "scheduler": [b"euler"],
        "width": [128],
        "height": [64],
    }


def test_a_random_seed_is_told_and_not_cached(
    gateway: RunningGateway, fake_triton: FakeTriton
) -> None:
    answers = [gateway.http.get("/imagine", params={"prompt": "a star"}) for _ in range(2)]
    seeds = [int(answer.headers["x-seed"]) for answer in answers]
    assert seeds == [request.inputs["seed"].values[0] for request in fake_triton.requests]
    assert seeds[0] != seeds[1]
    assert answers[0].headers["cache-control"] == "no-store"
    assert "etag" not in answers[0].headers


def test_a_repeat_draws_nothing(gateway: RunningGateway, fake_triton: FakeTriton) -> None:
    first, again = (gateway.http.get("/imagine", params=SEEDED) for _ in range(2))
    assert first.content == again.content
    assert first.headers["etag"] == again.headers["etag"]
    assert first.headers["cache-control"] == "public, max-age=86400, immutable"
    assert len(fake_triton.requests) == 1
    other = gateway.http.get("/imagine", params={**SEEDED, "steps": 3})
    assert other.headers["etag"] != first.headers["etag"]
    assert len(fake_triton.requests) == 2


def test_if_none_match_is_answered_with_304(
    gateway: RunningGateway, fake_triton: FakeTriton
) -> None:
    tag = gateway.http.get("/imagine", params=SEEDED).headers["etag"]
    fake_triton.stop()
    known = gateway.http.get(
        "/imagine", params=SEEDED, headers={"If-None-Match": f'"else", W/{tag}'}
    )
    assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", tag)


def test_another_checkpoint_has_another_tag(start_gateway: Callable[..., RunningGateway]) -> None:
    gateways = [start_gateway(model=model) for model in ("one/model", "another/model")]
    tags = {gateway.http.get("/imagine", params=SEEDED).headers["etag"] for gateway in gateways}
    assert len(tags) == 2


def test_the_cache_is_bounded(
    start_gateway: Callable[..., RunningGateway], fake_triton: FakeTriton
) -> None:
    gateway = start_gateway(cache_bytes=2500)
    for seed in (1, 2, 3, 1, 3):
        gateway.http.get("/imagine", params={"prompt": "a", "seed": seed})
    assert [request.inputs["seed"].values for request in fake_triton.requests] == [
        [1],
        [2],
        [3],
        [1],
    ]


def test_no_cache_at_all(
    start_gateway: Callable[..., RunningGateway], fake_triton: FakeTriton
) -> None:
    gateway = start_gateway(cache_bytes=0)
    for _ in range(2):
        assert gateway.http.get("/imagine", params=SEEDED).content == png_of_seed(7)
    assert len(fake_triton.requests) == 2


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({}, "prompt"),
        ({"prompt": "a", "seed": -1}, "seed"),
        ({"prompt": "a", "seed": 2**63}, "seed"),
        ({"prompt": "a", "steps": "many"}, "steps"),
        ({"prompt": "a", "steps": 2**40}, "steps"),
        ({"prompt": "a", "guidance": "nan"}, "guidance_scale"),
        ({"prompt": "a", "width": "0x8"}, "width"),
    ],
)
def test_values_of_the_wrong_type_are_refused(
    gateway: RunningGateway, fake_triton: FakeTriton, query: dict[str, str], param: str
) -> None:
    answer = gateway.http.get("/imagine", params=query)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, param)
    assert error["type"] == "invalid_request_error"
    assert not fake_triton.requests


@pytest.mark.parametrize(
    ("code", "reason", "status", "param"),
    [
        ("INVALID_ARGUMENT", "steps: got 0, expected 1 to 150", 400, "steps"),
        ("INVALID_ARGUMENT", "width: got 3, expected a multiple of 8", 400, "size"),
        ("CANCELLED", "request x was cancelled", 499, None),
        ("UNAVAILABLE", "text_encoder: the deadline of request x has passed", 504, None),
        ("UNAVAILABLE", "text_encoder: 1 more on 256 pictures in flight", 503, None),
        ("INTERNAL", "Stub process 'unet_0_0' is not healthy.", 503, None),
        ("INTERNAL", "unet failed; its log knows request x", 500, None),
    ],
)
def test_triton_errors_have_their_http_status(
    gateway: RunningGateway,
    fake_triton: FakeTriton,
    code: str,
    reason: str,
    status: int,
    param: str | None,
) -> None:
    prefix = "in ensemble 'stable_diffusion', [request id: x] "
    fake_triton.errors = [TritonError(code, prefix + reason)] * 4
    answer = gateway.http.get("/imagine", params=SEEDED)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (status, param)
    assert error["message"] == reason
    assert ("retry-after" in answer.headers) == (status == 503)


def test_a_busy_server_is_retried(gateway: RunningGateway, fake_triton: FakeTriton) -> None:
    fake_triton.errors = [TritonError("UNAVAILABLE", "too much")]
    assert gateway.http.get("/imagine", params=SEEDED).status_code == 200


def test_no_server(gateway: RunningGateway, fake_triton: FakeTriton) -> None:
    fake_triton.stop()
    answer = gateway.http.get("/imagine", params=SEEDED)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "no_server")

"""`GET /imagine`, and what of it may be kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.fake_triton_server import FakeTriton, Refusal, png_of
from tests.support.gateways import Front

SEEDED: dict[str, Any] = {"prompt": "a star", "seed": 7}


def test_a_picture_by_its_address(front: Front, drawing: FakeTriton) -> None:
    options: dict[str, Any] = {"steps": 4, "guidance": 2.5, "scheduler": "euler"}
    options |= {"negative_prompt": "blur"}
    answer = front.http.get("/imagine", params={**SEEDED, **options, "img_size": 64, "width": 128})
    assert (answer.status_code, answer.content) == (200, png_of(7))
    assert (answer.headers["content-type"], answer.headers["x-seed"]) == ("image/png", "7")
    [request] = drawing.seen
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


def test_a_drawn_seed_is_told_and_nothing_is_kept(front: Front, drawing: FakeTriton) -> None:
    answers = [front.http.get("/imagine", params={"prompt": "a star"}) for _ in range(2)]
    seeds = [int(answer.headers["x-seed"]) for answer in answers]
    assert seeds == [request.inputs["seed"].values[0] for request in drawing.seen]
    assert seeds[0] != seeds[1]
    assert answers[0].headers["cache-control"] == "no-store"
    assert "etag" not in answers[0].headers


def test_a_repeat_draws_nothing(front: Front, drawing: FakeTriton) -> None:
    first, again = (front.http.get("/imagine", params=SEEDED) for _ in range(2))
    assert first.content == again.content
    assert first.headers["etag"] == again.headers["etag"]
    assert first.headers["cache-control"] == "public, max-age=86400, immutable"
    assert len(drawing.seen) == 1
    other = front.http.get("/imagine", params={**SEEDED, "steps": 3})
    assert other.headers["etag"] != first.headers["etag"]
    assert len(drawing.seen) == 2


def test_who_has_it_is_not_sent_it_again(front: Front, drawing: FakeTriton) -> None:
    tag = front.http.get("/imagine", params=SEEDED).headers["etag"]
    drawing.stop()
    known = front.http.get("/imagine", params=SEEDED, headers={"If-None-Match": f'"else", W/{tag}'})
    assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", tag)


def test_another_checkpoint_has_another_tag(open_front: Callable[..., Front]) -> None:
    fronts = [open_front(model=model) for model in ("one/model", "another/model")]
    tags = {front.http.get("/imagine", params=SEEDED).headers["etag"] for front in fronts}
    assert len(tags) == 2


def test_the_cache_is_bounded(open_front: Callable[..., Front], drawing: FakeTriton) -> None:
    front = open_front(cache_bytes=2500)
    for seed in (1, 2, 3, 1, 3):
        front.http.get("/imagine", params={"prompt": "a", "seed": seed})
    assert [request.inputs["seed"].values for request in drawing.seen] == [[1], [2], [3], [1]]


def test_no_cache_at_all(open_front: Callable[..., Front], drawing: FakeTriton) -> None:
    front = open_front(cache_bytes=0)
    for _ in range(2):
        assert front.http.get("/imagine", params=SEEDED).content == png_of(7)
    assert len(drawing.seen) == 2


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({}, "prompt"),
        ({"prompt": "a", "seed": -1}, "seed"),
        ({"prompt": "a", "seed": 2**63}, "seed"),
        ({"prompt": "a", "steps": "many"}, "steps"),
        ({"prompt": "a", "steps": 2**40}, "steps"),
        ({"prompt": "a", "guidance": "nan"}, "guidance"),
    ],
)
def test_what_is_no_number_is_refused(
    front: Front, drawing: FakeTriton, query: dict[str, str], param: str
) -> None:
    answer = front.http.get("/imagine", params=query)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, param)
    assert error["type"] == "invalid_request_error"
    assert not drawing.seen


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
def test_tritons_reasons_have_their_status(
    front: Front, drawing: FakeTriton, code: str, reason: str, status: int, param: str | None
) -> None:
    prefix = "in ensemble 'stable_diffusion', [request id: x] "
    drawing.refusals = [Refusal(code, prefix + reason)] * 4
    answer = front.http.get("/imagine", params=SEEDED)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (status, param)
    assert error["message"] == reason
    assert ("retry-after" in answer.headers) == (status == 503)


def test_a_busy_server_is_asked_again(front: Front, drawing: FakeTriton) -> None:
    drawing.refusals = [Refusal("UNAVAILABLE", "too much")]
    assert front.http.get("/imagine", params=SEEDED).status_code == 200


def test_no_server(front: Front, drawing: FakeTriton) -> None:
    drawing.stop()
    answer = front.http.get("/imagine", params=SEEDED)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "no_server")

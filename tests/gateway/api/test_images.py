"""The official `openai` client, unchanged."""

from __future__ import annotations

import asyncio
import base64
import io
import time
from collections.abc import Callable
from typing import Any

import openai
import pytest
from PIL import Image

from tests.support.fake_triton_server import FakeTriton, TritonError, png_of_seed
from tests.support.gateways import RunningGateway
from tests.support.pictures import CIRCLE, encoded

SKETCH = encoded(CIRCLE)


@pytest.fixture
def client(gateway: RunningGateway) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="unused", max_retries=0)


def of_base64(datum: Any) -> bytes:
    return base64.b64decode(datum.b64_json)


def drawn(answer: Any) -> list[bytes]:
    return [of_base64(datum) for datum in answer.data]


def test_pictures(client: openai.OpenAI, fake_triton: FakeTriton) -> None:
    answer = client.images.generate(
        prompt="a star", n=2, size="1024x512", quality="high", user="me", background="opaque",
        extra_body={"seed": 7, "steps": 4, "negative_prompt": "blur"},
    )  # fmt: skip
    assert drawn(answer) == [png_of_seed(7), png_of_seed(8)]
    assert [datum["seed"] for datum in answer.model_dump()["data"]] == [7, 8]
    assert (answer.output_format, answer.size) == ("png", "16x8")
    inputs = {name: tensor.values for name, tensor in fake_triton.requests[0].inputs.items()}
    assert inputs == {
        "prompt": [b"a star"] * 2,
        "negative_prompt": [b"blur"],
        "seed": [7, 8],
        "steps": [4],
        "width": [1024],
        "height": [512],
    }


def test_without_waiting(gateway: RunningGateway) -> None:
    async def draw() -> list[bytes]:
        async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="unused") as client:
            given = {"seed": 7}
            answer = await client.images.generate(prompt="a star", extra_body=given)
            events = await client.images.generate(prompt="a", stream=True, extra_body=given)
            last = [event async for event in events][-1]
            assert answer.data
            return [of_base64(answer.data[0]), of_base64(last)]

    assert asyncio.run(draw()) == [png_of_seed(7)] * 2


@pytest.mark.parametrize(("partial", "steps"), [(0, 8), (1, 8), (3, 8), (3, 2), (2, None)])
def test_a_stream(
    client: openai.OpenAI, fake_triton: FakeTriton, partial: int, steps: int | None
) -> None:
    given = {"seed": 7} | ({"steps": steps} if steps else {})
    events = client.images.generate(
        prompt="a", stream=True, partial_images=partial, extra_body=given
    )
    *early, last = list(events)
    assert last.type == "image_generation.completed"
    assert of_base64(last) == png_of_seed(7)
    assert len(early) == min(partial, (steps or 4) - 1)
    for index, event in enumerate(early):
        assert event.type == "image_generation.partial_image"
        assert event.partial_image_index == index
        assert of_base64(event) != png_of_seed(7)


def test_only_as_many_steps_are_decoded_as_are_shown(
    client: openai.OpenAI, fake_triton: FakeTriton
) -> None:
    """Without steps in the request, from the second stream on."""
    for _ in range(2):
        list(client.images.generate(prompt="a", stream=True, partial_images=1))
    every = [request.inputs["preview_every"].values for request in fake_triton.requests]
    assert every == [[1], [2]]


def test_from_a_picture(client: openai.OpenAI, fake_triton: FakeTriton) -> None:
    for image in (io.BytesIO(SKETCH), [("sketch.png", SKETCH)]):
        answer = client.images.edit(
            image=image, prompt="a star", n=2, extra_body={"seed": 7, "strength": 0.5}
        )
        assert drawn(answer) == [png_of_seed(7), png_of_seed(8)]
    [request] = fake_triton.requests  # the second came from the cache
    assert request.model == "image_to_image"
    inputs = {name: tensor.values for name, tensor in request.inputs.items()}
    assert inputs == {
        "prompt": [b"a star"] * 2,
        "seed": [7, 8],
        "init_image": [SKETCH],
        "strength": [0.5],
    }


def test_a_stream_from_a_picture(client: openai.OpenAI) -> None:
    [event] = client.images.edit(
        image=SKETCH, prompt="a", stream=True, partial_images=2, extra_body={"seed": 7}
    )
    assert event.type == "image_edit.completed"
    assert of_base64(event) == png_of_seed(7)


def test_parts_of_a_picture_and_several_are_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="mask"):
        client.images.edit(image=SKETCH, mask=SKETCH, prompt="a")
    with pytest.raises(openai.BadRequestError, match="got 2 pictures"):
        client.images.edit(image=[SKETCH, SKETCH], prompt="a")


def test_by_address(client: openai.OpenAI, gateway: RunningGateway) -> None:
    answer = client.images.generate(prompt="a", response_format="url", extra_body={"seed": 7})
    assert answer.data
    fetched = gateway.http.get(str(answer.data[0].url))
    assert (fetched.content, fetched.headers["content-type"]) == (png_of_seed(7), "image/png")
    assert gateway.http.get("/v1/images/files/else").status_code == 404


def test_an_address_expires(start_gateway: Callable[..., RunningGateway]) -> None:
    gateway = start_gateway(results_seconds=1)
    asked = {"prompt": "a", "response_format": "url"}
    answer = gateway.http.post("/v1/images/generations", json=asked)
    url = answer.json()["data"][0]["url"]
    assert gateway.http.get(url).status_code == 200
    time.sleep(1.1)
    assert gateway.http.get(url).status_code == 404


@pytest.mark.parametrize("kind", ["jpeg", "webp"])
def test_formats(client: openai.OpenAI, kind: Any) -> None:
    sizes = []
    for compression in (5, 100):
        answer = client.images.generate(
            prompt="a", output_format=kind, output_compression=compression, extra_body={"seed": 99}
        )
        assert answer.data
        file = of_base64(answer.data[0])
        image = Image.open(io.BytesIO(file))
        assert (image.format, image.size) == (kind.upper(), (16, 8))
        sizes.append(len(file))
    assert sizes[0] < sizes[1]


def test_models(client: openai.OpenAI) -> None:
    [model] = client.models.list().data
    assert model.id == client.models.retrieve("miniature").id == "miniature"
    for name in ("miniature", "stable_diffusion", ""):
        client.images.generate(prompt="a", model=name)
    with pytest.raises(openai.NotFoundError, match="dall-e-3"):
        client.images.generate(prompt="a", model="dall-e-3")
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("dall-e-3")


def test_models_without_a_server(client: openai.OpenAI, fake_triton: FakeTriton) -> None:
    fake_triton.stop()
    assert client.models.list().data[0].id == "miniature"


@pytest.mark.parametrize("stream", [False, True])
def test_a_refusal(client: openai.OpenAI, fake_triton: FakeTriton, stream: Any) -> None:
    fake_triton.errors = [TritonError("INVALID_ARGUMENT", "steps: got 0, expected 1 to 150")]
    with pytest.raises(openai.BadRequestError) as refused:
        client.images.generate(prompt="a", stream=stream, partial_images=1)
    assert (refused.value.param, refused.value.type) == ("steps", "invalid_request_error")
    assert "expected 1 to 150" in refused.value.message


@pytest.mark.parametrize(
    "given", [{"n": 0}, {"n": 11}, {"size": "big"}, {"partial_images": 4}, {"output_format": "gif"}]
)
def test_what_openai_refuses_too(client: openai.OpenAI, given: dict[str, Any]) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.images.generate(prompt="a", **given)
    assert refused.value.param == next(iter(given))


def test_a_stream_that_fails_halfway(client: openai.OpenAI, fake_triton: FakeTriton) -> None:
    fake_triton.fail_at = {3: TritonError("UNAVAILABLE", "no replica left in 4 attempts")}
    events = client.images.generate(
        prompt="a", stream=True, partial_images=3, extra_body={"steps": 4}
    )
    with pytest.raises(openai.APIError, match="no replica left"):
        list(events)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [('{"prompt": "a"}', "text/plain"), ("[]", "application/json"), ("1", "application/json")],
)
def test_what_is_no_json_object(gateway: RunningGateway, body: str, content_type: str) -> None:
    headers = {"Content-Type": content_type}
    answer = gateway.http.post("/v1/images/generations", content=body, headers=headers)
    assert answer.status_code == 400
    assert "expected a JSON object, sent as" in answer.json()["error"]["message"]

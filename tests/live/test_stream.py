"""Streams, cancel and latents against a real stack."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
from safetensors.numpy import load_file
from tritonclient.utils import InferenceServerException

from relay_client import Client, Preview, RequestError
from tests.support.pictures import TOLERANCE, max_difference, pixels
from tests.support.stacks import STAR, Stack, tensors
from tests.support.waiting import wait_until

LONG: dict[str, Any] = {"steps": 150, "height": 256, "width": 256}


@pytest.fixture
def client(stack: Stack) -> Client:
    return Client(stack.grpc)


def watch(client: Client, *prompts: str, **options: Any) -> list[Preview]:
    return list(client.stream(prompts, **options))


def roughness(png: bytes) -> float:
    """How much neighbouring pixels differ: noise is rough."""
    return float(np.abs(np.diff(pixels(png), axis=0)).mean())


# Previews


def test_previews_come_in_order_and_the_last_is_the_picture(client: Client, stack: Stack) -> None:
    previews = watch(client, STAR, seed=7, steps=10, preview_every=3)
    assert [preview.step for preview in previews] == [3, 6, 9, 10]
    assert [preview.is_final for preview in previews] == [False, False, False, True]
    assert {preview.steps for preview in previews} == {10}
    assert previews[-1].pictures[0].png == stack.draw(STAR, seed=7, steps=10)[0]
    assert len({preview.pictures[0].png for preview in previews}) == 4


def test_previews_are_estimates_and_never_noise(client: Client) -> None:
    previews = watch(client, STAR, seed=7, steps=12)
    assert len(previews) == 12
    final = roughness(previews[-1].pictures[0].png)
    assert max(roughness(preview.pictures[0].png) for preview in previews[2:]) < 3 * final


def test_many_streams_at_once_keep_their_order_and_their_pictures(
    client: Client, stack: Stack
) -> None:
    def one(seed: int) -> list[Preview]:
        return watch(client, STAR, "a red circle", seed=seed, steps=4 + seed)

    with ThreadPoolExecutor(6) as threads:
        streams = list(threads.map(one, range(6)))
    for seed, previews in enumerate(streams):
        assert [preview.step for preview in previews] == list(range(1, 5 + seed))
        drawn = stack.draw(STAR, "a red circle", seed=seed, steps=4 + seed)
        for picture, png in zip(previews[-1].pictures, drawn, strict=True):
            assert max_difference(picture.png, png) <= TOLERANCE


def test_server_sent_events_carry_the_same(stack: Stack) -> None:
    body = {"prompt": STAR, "seed": 7, "steps": 6, "preview_every": 2, "encoding": "base64"}
    url = f"http://{stack.http}/v2/models/stable_diffusion_stream/generate_stream"
    with urllib.request.urlopen(url, data=json.dumps(body).encode(), timeout=60) as response:
        events = [json.loads(line[5:]) for line in response if line.startswith(b"data:")]
    assert [event["step"] for event in events] == [2, 4, 6]
    assert [event["is_final"] for event in events] == [False, False, True]
    assert [event["steps_used"] for event in events] == [6, 6, 6]
    assert all(event["image_base64"].startswith("iVBORw") for event in events)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preview_every": 0}, "preview_every: got 0, expected 1 to 150"),
        ({"steps": 151}, "steps: got 151, expected 1 to 150"),
    ],
)
def test_a_stream_that_is_refused_says_why(
    options: dict[str, int], message: str, client: Client
) -> None:
    with pytest.raises(RequestError, match=message) as refusal:
        watch(client, STAR, **options)
    assert refusal.value.code == "INVALID_ARGUMENT"


def test_a_replica_that_dies_costs_the_stream_nothing(client: Client, stack: Stack) -> None:
    seen: list[int] = []
    for preview in client.stream(STAR, seed=7, steps=60):
        seen.append(preview.step)
        if preview.step == 5:
            stack.replica("unet").kill()
    assert seen == list(range(1, 61))
    assert wait_until(lambda: stack.draw(STAR), 60)


# Cancel


def test_a_cancelled_request_ends_at_once_and_its_neighbour_does_not(
    client: Client, stack: Stack
) -> None:
    neighbour: list[bytes] = []
    told: list[RequestError] = []
    ended: list[float] = []

    def unwanted() -> None:
        try:
            client.generate(STAR, request_id="unwanted", **LONG)
        except RequestError as error:
            told.append(error)
            ended.append(time.monotonic())

    threads = [
        threading.Thread(target=unwanted),
        threading.Thread(target=lambda: neighbour.extend(stack.draw(STAR, seed=7, steps=40))),
    ]
    for thread in threads:
        thread.start()
    in_work = "stage=unet event=request request_id=unwanted"
    assert wait_until(lambda: in_work in stack.log("triton"), 30)
    began = time.monotonic()
    assert client.cancel("unwanted")
    for thread in threads:
        thread.join()
    assert told[0].code == "CANCELLED"
    assert ended[0] - began < 5
    assert max_difference(neighbour[0], stack.draw(STAR, seed=7, steps=40)[0]) <= TOLERANCE


def test_a_cancelled_stream_stops_within_two_steps(client: Client) -> None:
    seen: list[int] = []

    def watch_and_cancel() -> None:
        for preview in client.stream(STAR, request_id="stream", **LONG):
            seen.append(preview.step)
            if preview.step == 3:
                assert client.cancel("stream")

    with pytest.raises(RequestError) as told:
        watch_and_cancel()
    assert told.value.code == "CANCELLED"
    assert seen[-1] <= 3 + 4  # two steps of the loop, and what was on its way to be decoded


def test_nobodys_request_is_not_found(client: Client) -> None:
    assert client.cancel("nobody's") is False


def test_a_grpc_cancel_of_a_stage_called_directly_ends_it(stack: Stack) -> None:
    embeds = np.zeros((1, 48, 128), np.float32)
    inputs = tensors(triton_grpc, prompt_embeds=embeds, negative_prompt_embeds=embeds, **LONG)
    answers: list[Any] = []
    with stack.client() as triton:
        call = triton.async_infer(
            "unet", inputs, lambda result, error: answers.append(error), request_id="direct"
        )
        assert wait_until(lambda: "request_id=direct shapes" in stack.log("triton"), 30)
        call.cancel()
        assert wait_until(lambda: "request_id=direct kind=cancelled" in stack.log("triton"), 10)
        assert wait_until(lambda: answers, 10)
    assert isinstance(answers[0], InferenceServerException)


# Latents


def test_intermediate_latents_come_to_who_asks_and_to_the_disk(
    stack: Stack, latents_dir: Path
) -> None:
    answer = stack.infer(STAR, "a red circle", steps=7, dump_latents_every=3, request_id="../l")
    latents = answer.as_numpy("intermediate_latents")
    assert latents.shape == (2, 2, 4, 16, 16)
    folder = latents_dir / "___l"
    assert wait_until(lambda: len(list(folder.glob("*.png"))) == 2, 10)
    for i, step in enumerate((3, 6)):
        kept = load_file(folder / f"step_{step:03d}.safetensors")["latents"]
        np.testing.assert_array_equal(kept, latents[:, i])
    assert stack.infer(STAR).as_numpy("intermediate_latents").shape == (1, 0, 4, 16, 16)


# Guidance and priority


def test_guidance_in_an_interval_only_is_another_picture(stack: Stack) -> None:
    whole, part = (stack.draw(STAR, seed=7, guidance_end=end)[0] for end in (1.0, 0.5))
    assert whole == stack.draw(STAR, seed=7)[0]
    assert part != whole


def test_priority_out_of_range_is_refused(stack: Stack) -> None:
    with pytest.raises(InferenceServerException, match="priority: got 10, expected 1 to 9"):
        stack.infer(STAR, priority=10)

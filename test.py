"""The integration suite: a real tritonserver and a real Ray, started once, called as users do."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.grpc.aio as triton_grpc_aio
import tritonclient.http as triton_http
from PIL import Image
from tritonclient.utils import InferenceServerException

from tests import checkpoints
from tests.pictures import BLUE, bomb, circle, encoded, gradient
from tests.serving import (
    ENSEMBLE,
    IMAGE_TO_IMAGE,
    MAX_IN_FLIGHT,
    ROOT,
    Stack,
    pixels,
    tensors,
    wait_until,
)

STAGES = ("text_encoder", "unet", "vae_decoder")
STAGES_FROM_A_PICTURE = ("text_encoder", "vae_encoder", "unet", "vae_decoder")
STAR = "a large yellow star on a black background"


def in_log(stack: Stack, part: str, text: str) -> bool:
    return text in stack.log(part)


def fetch(url: str, body: object = None) -> tuple[int, str]:
    """Status and text; a POST where there is a body."""
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(url, data=data, timeout=60) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def looks_like_the_star(png: bytes) -> bool:
    """Yellow where the star is, black in the corners."""
    picture = pixels(png)
    centre = picture[56:72, 56:72].reshape(-1, 3).mean(axis=0)
    edge = np.concatenate([picture[:4].reshape(-1, 3), picture[-4:].reshape(-1, 3)]).mean(axis=0)
    red, green, blue = centre
    return bool(red > 180 and green > 140 and blue < 120 and edge.max() < 60)


# What comes out


def test_the_star_is_yellow_and_the_ground_black(stack: Stack) -> None:
    drawn = [looks_like_the_star(stack.draw(STAR, seed=seed)[0]) for seed in (7, 8, 9)]
    assert drawn == [True, True, True]


def test_the_same_seed_gives_the_same_bytes_and_another_another_picture(stack: Stack) -> None:
    first, again, other = (stack.draw(STAR, seed=seed)[0] for seed in (7, 7, 8))
    assert first == again
    assert (pixels(first) != pixels(other)).any()


def test_several_prompts_give_several_pictures_each_as_if_alone(stack: Stack) -> None:
    prompts = ["a red circle", "a blue square", "a green heart"]
    answer = stack.infer(*prompts, seed=[5, 6, 7])
    assert answer.as_numpy("seed_used").tolist() == [5, 6, 7]
    together = list(answer.as_numpy("image"))
    for prompt, seed, png in zip(prompts, (5, 6, 7), together, strict=True):
        difference = pixels(stack.draw(prompt, seed=seed)[0]) - pixels(png)
        assert np.abs(difference).max() <= 2
        assert base64.b64encode(png) in list(answer.as_numpy("image_base64"))


def test_a_seed_is_drawn_where_none_is_given_and_told(stack: Stack) -> None:
    one, other = stack.infer("a red circle"), stack.infer("a red circle")
    seeds = [int(answer.as_numpy("seed_used")[0]) for answer in (one, other)]
    assert seeds[0] != seeds[1]
    again = stack.draw("a red circle", seed=seeds[0])[0]
    assert again == one.as_numpy("image")[0]


def test_unicode_and_every_option_end_up_in_the_png(stack: Stack) -> None:
    answer = stack.infer(
        "en röd cirkel ⭐ 星",
        negative_prompt="oskarp",
        seed=3,
        steps=4,
        guidance_scale=2.5,
        scheduler="euler",
        height=64,
        width=96,
    )
    image = Image.open(io.BytesIO(answer.as_numpy("image")[0]))
    assert image.size == (96, 64)
    assert image.info["parameters"] == (
        "en röd cirkel ⭐ 星\nNegative prompt: oskarp\nSteps: 4, Sampler: Euler, CFG scale: 2.5, "
        "Seed: 3, Size: 96x64, Model: miniature-sd, Version: latent-relay"
    )


def test_the_answer_tells_the_time_in_each_stage(stack: Stack) -> None:
    answer = stack.infer("a red circle", steps=4)
    for stage in STAGES:
        queue_ms, compute_ms = answer.as_numpy(f"{stage}_ms")
        assert queue_ms >= 0
        assert compute_ms > 0


# Ways in


def test_http_with_stock_tritonclient(stack: Stack) -> None:
    with triton_http.InferenceServerClient(stack.http) as client:
        outputs = [triton_http.InferRequestedOutput("image", binary_data=True)]
        answer = client.infer(
            ENSEMBLE, tensors(triton_http, prompt=[STAR], seed=7), outputs=outputs
        )
    assert answer.as_numpy("image")[0] == stack.draw(STAR, seed=7)[0]


def test_asyncio_with_stock_tritonclient(stack: Stack) -> None:
    async def draw() -> list[Any]:
        async with triton_grpc_aio.InferenceServerClient(stack.grpc) as client:
            inputs = tensors(triton_grpc_aio, prompt=["a red circle"], seed=1, steps=4)
            return list(await asyncio.gather(*(client.infer(ENSEMBLE, inputs) for _ in range(4))))

    first, *others = [pixels(answer.as_numpy("image")[0]) for answer in asyncio.run(draw())]
    assert [np.abs(other - first).max() <= 2 for other in others] == [True] * 3


needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on this machine")


@needs_curl
def test_curl_with_request_json(stack: Stack) -> None:
    url = f"http://{stack.http}/v2/models/{ENSEMBLE}/infer"
    command = ["curl", "-sS", "-H", "Content-Type: application/json", "-d", "@request.json", url]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    outputs = {output["name"]: output["data"] for output in json.loads(done.stdout)["outputs"]}
    assert looks_like_the_star(base64.b64decode(outputs["image_base64"][0]))


def test_generate(stack: Stack) -> None:
    body = {"prompt": STAR, "seed": 7, "encoding": "base64"}
    status, answer = fetch(f"http://{stack.http}/v2/models/{ENSEMBLE}/generate", body)
    assert status == 200
    assert base64.b64decode(json.loads(answer)["image_base64"]) == stack.draw(STAR, seed=7)[0]


ASKED = {ENSEMBLE: ["seed_used"], "text_encoder": ["deadline"]}


def test_a_client_may_ask_for_some_outputs_only(stack: Stack) -> None:
    with stack.client() as client:
        for model, names in ASKED.items():
            outputs = [triton_grpc.InferRequestedOutput(name) for name in names]
            inputs = tensors(triton_grpc, prompt=["a red circle"])
            for _ in range(20):  # to drop an output once broke Triton's stub, now and then
                answer = client.infer(model, inputs, outputs=outputs)
                assert [output.name for output in answer.get_response().outputs] == names


def test_each_stage_alone(stack: Stack) -> None:
    """A client may chain the stages itself, and gets the picture of the ensemble."""

    def fp32(name: str, values: Any) -> Any:
        tensor = triton_grpc.InferInput(name, values.shape, "FP32")
        tensor.set_data_from_numpy(values)
        return tensor

    with stack.client() as client:
        embeds = client.infer("text_encoder", tensors(triton_grpc, prompt=[STAR]))
        names = ("prompt_embeds", "negative_prompt_embeds")
        inputs = [fp32(name, embeds.as_numpy(name)) for name in names]
        denoised = client.infer("unet", [*inputs, *tensors(triton_grpc, seed=7)])
        decoded = client.infer("vae_decoder", [fp32("latents", denoised.as_numpy("latents"))])
    difference = pixels(decoded.as_numpy("image")[0]) - pixels(stack.draw(STAR, seed=7)[0])
    assert np.abs(difference).max() <= 2


# What begins at a picture

CIRCLE = circle()


def from_picture(**options: Any) -> dict[str, Any]:
    return {"model": IMAGE_TO_IMAGE, "init_image": encoded(CIRCLE), "seed": 7, **options}


def distance(png: bytes, image: Image.Image) -> float:
    """Mean of the differences, of 255."""
    return float(np.abs(pixels(png) - np.asarray(image).astype(int)).mean())


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_little_strength_keeps_the_picture(stack: Stack, kind: str) -> None:
    options = from_picture(init_image=encoded(CIRCLE, kind), strength=0.1)
    (picture,) = stack.draw("a large red circle on a white background", **options)
    assert distance(picture, CIRCLE) < 8


def test_the_more_strength_the_more_is_drawn_anew(stack: Stack) -> None:
    pictures = [
        stack.draw(STAR, **from_picture(strength=strength))[0] for strength in (0.1, 0.6, 1.0)
    ]
    near, between, far = (distance(picture, CIRCLE) for picture in pictures)
    assert near < between < far
    assert looks_like_the_star(pictures[2])


def test_it_is_the_picture_of_diffusers(stack: Stack) -> None:
    import torch
    from diffusers import StableDiffusionImg2ImgPipeline

    pipeline: Any = StableDiffusionImg2ImgPipeline.from_pretrained(
        ROOT / "models" / "miniature-sd", torch_dtype=torch.float32
    )
    theirs = pipeline(
        STAR,
        image=CIRCLE,
        strength=0.7,
        num_inference_steps=10,
        guidance_scale=3.0,
        generator=torch.Generator().manual_seed(7),
    ).images[0]
    options = from_picture(strength=0.7, steps=10, guidance_scale=3.0)
    (ours,) = stack.draw(STAR, **options)
    assert np.abs(pixels(ours) - np.asarray(theirs).astype(int)).max() <= 2
    assert Image.open(io.BytesIO(ours)).info["parameters"] == (
        f"{STAR}\nSteps: 10, Sampler: DDIM, CFG scale: 3, Seed: 7, Size: 128x128, "
        "Model: miniature-sd, Denoising strength: 0.7, Version: latent-relay"
    )


def test_its_size_is_the_pictures_or_what_is_wished(stack: Stack) -> None:
    large = from_picture(init_image=encoded(gradient(600, 300), "jpeg"), steps=2)
    sizes = [
        pixels(stack.draw("a ring", **large, **wish)[0]).shape[:2]
        for wish in ({}, {"height": 64}, {"height": 96, "width": 72})
    ]
    assert sizes == [(128, 256), (64, 128), (96, 72)]


def test_several_prompts_share_a_picture_or_have_their_own(stack: Stack) -> None:
    blue = circle(fill=BLUE)
    wish = from_picture(seed=[1, 2], strength=0.1)
    shared = stack.draw("a ring", "a ring", **wish)
    wish["init_image"] = [encoded(CIRCLE), encoded(blue, "webp")]
    each = stack.draw("a ring", "a ring", **wish)
    assert np.abs(pixels(shared[0]) - pixels(each[0])).max() <= 2
    assert [distance(shared[1], CIRCLE) < 8, distance(each[1], blue) < 8] == [True, True]


def test_http_takes_a_picture_too(stack: Stack) -> None:
    wish = {"prompt": [STAR], "init_image": encoded(CIRCLE), "seed": 7}
    with triton_http.InferenceServerClient(stack.http) as client:
        answer = client.infer(IMAGE_TO_IMAGE, tensors(triton_http, **wish))
    assert answer.as_numpy("image")[0] == stack.draw(STAR, **from_picture())[0]


def test_all_four_stages_tell_their_time_under_one_request_id(stack: Stack) -> None:
    answer = stack.infer("a ring", **from_picture(steps=4, request_id="from-a-picture"))
    for stage in STAGES_FROM_A_PICTURE:
        queue_ms, compute_ms = answer.as_numpy(f"{stage}_ms")
        assert queue_ms >= 0
        assert compute_ms > 0
        event = f"stage={stage} event=response request_id=from-a-picture ms="
        assert wait_until(partial(in_log, stack, "triton", event), 10), event


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"init_image": []}, "init_image: got 0 pictures, expected 1 to 16"),
        ({"init_image": b""}, "init_image: got 0 bytes of another kind at position 0"),
        ({"init_image": b"GIF89a"}, "init_image: got 6 bytes of another kind at position 0"),
        ({"init_image": bytes(16_000_001)}, "init_image: got 16000001 bytes at position 0"),
        ({"init_image": bomb(50_000, 50_000)}, "init_image: got a decompression bomb at position"),
        ({"init_image": bomb(8000, 8000)}, "init_image: got 8000x8000 pixels at position 0"),
        ({"init_image": encoded(CIRCLE)[:400]}, "init_image: got a damaged file at position 0"),
        ({"init_image": [encoded(CIRCLE)] * 2}, "init_moments: got 2 pictures, expected 1"),
        ({"height": 100}, "height: got 100, expected a multiple of 8 from 64 to 256"),
        ({"strength": 0.0}, "strength: got 0.0, expected more than 0, at most 1"),
        ({"strength": 1.5}, "strength: got 1.5, expected more than 0, at most 1"),
        ({"strength": 0.1, "steps": 9}, "strength: got 0.1, expected enough for 1 of 9 steps"),
        ({"prompt": [""]}, "prompt: got an empty prompt at position 0"),
    ],
)
def test_what_cannot_be_begun_at_is_refused(
    stack: Stack, options: dict[str, Any], message: str
) -> None:
    given = {"prompt": ["a red circle"], "init_image": encoded(CIRCLE), **options}
    with stack.client() as client, pytest.raises(InferenceServerException) as refusal:
        client.infer(IMAGE_TO_IMAGE, tensors(triton_grpc, **given))
    assert refusal.value.status() == "StatusCode.INVALID_ARGUMENT"
    assert message in refusal.value.message()


def test_without_a_picture_image_to_image_says_so(stack: Stack) -> None:
    with pytest.raises(InferenceServerException) as refusal:
        stack.infer("a red circle", model=IMAGE_TO_IMAGE)
    assert "init_image: got 0 pictures, expected 1 to 16" in refusal.value.message()


def test_a_bad_picture_harms_nobody_beside_it(stack: Stack) -> None:
    files = [encoded(CIRCLE), bomb(8000, 8000), encoded(CIRCLE)[:400], encoded(CIRCLE, "webp")]

    def draw(i: int) -> object:
        try:
            return len(stack.draw("a ring", **from_picture(init_image=files[i % 4], steps=4)))
        except InferenceServerException as error:
            return error.status()

    with ThreadPoolExecutor(16) as pool:
        refused = "StatusCode.INVALID_ARGUMENT"
        assert list(pool.map(draw, range(16))) == [1, refused, refused, 1] * 4


# What is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompt": []}, "prompt: got 0 prompts, expected 1 to 16"),
        ({"prompt": ["a"] * 300}, "prompt: got 300 prompts, expected 1 to 16"),
        ({"prompt": ["a"] * 17}, "prompt: got 17 prompts, expected 1 to 16"),
        ({"prompt": [""]}, "prompt: got an empty prompt at position 0"),
        ({"prompt": [b"\xff"]}, "prompt: got bytes that break at 0, expected UTF-8"),
        ({"prompt": ["x" * 2001]}, "prompt: got 2001 characters, expected at most 2000"),
        ({"negative_prompt": "x" * 2001}, "negative_prompt: got 2001 characters"),
        ({"seed": -1}, "seed: got -1, expected 0 to 9223372036854775807"),
        ({"seed": [1, 2, 3]}, "seed: got 3 seeds, expected 1"),
        ({"steps": 0}, "steps: got 0, expected 1 to 150"),
        ({"steps": 151}, "steps: got 151, expected 1 to 150"),
        ({"steps": 51, "scheduler": "lcm"}, "steps: got 51, expected a number that scheduler lcm"),
        ({"guidance_scale": 30.5}, "guidance_scale: got 30.5, expected 0 to 30"),
        ({"guidance_scale": float("nan")}, "guidance_scale: got nan, expected 0 to 30"),
        ({"height": 100}, "height: got 100, expected a multiple of 8 from 64 to 256"),
        ({"width": 264}, "width: got 264, expected a multiple of 8 from 64 to 256"),
        ({"width": 56}, "width: got 56, expected a multiple of 8 from 64 to 256"),
        ({"scheduler": "magic"}, "scheduler: got 'magic', expected one of ddim"),
        ({"encoding": "gif"}, "encoding: got 'gif', expected one of raw, base64"),
    ],
)
def test_refusals_have_their_code_and_name_field_value_and_limit(
    stack: Stack, options: dict[str, Any], message: str
) -> None:
    given = {"prompt": ["a red circle"], **options}
    with stack.client() as client, pytest.raises(InferenceServerException) as refusal:
        client.infer(ENSEMBLE, tensors(triton_grpc, **given))
    assert refusal.value.status() == "StatusCode.INVALID_ARGUMENT"
    assert message in refusal.value.message()
    http = triton_http.InferenceServerClient(stack.http)
    with http as client, pytest.raises(InferenceServerException) as refusal:
        client.infer(ENSEMBLE, tensors(triton_http, **given))
    assert refusal.value.status() == "400"
    assert message in refusal.value.message()


def test_a_refused_request_harms_nobody_beside_it(stack: Stack) -> None:
    def draw(i: int) -> object:
        try:
            return len(stack.draw("a red circle", steps=151 if i % 2 else 4))
        except InferenceServerException as error:
            return error.status()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(draw, range(8))) == [1, "StatusCode.INVALID_ARGUMENT"] * 4


def test_a_clients_timeout_is_the_deadline_of_the_whole_request(stack: Stack) -> None:
    begin = time.monotonic()
    with pytest.raises(InferenceServerException) as late:
        stack.infer(*["a red circle"] * 16, steps=150, timeout=500_000)
    assert time.monotonic() - begin < 5
    assert late.value.status() == "StatusCode.UNAVAILABLE"
    assert "deadline" in late.value.message()


def test_what_shares_memory_with_the_server_or_changes_its_models_is_closed(stack: Stack) -> None:
    for path in ("systemsharedmemory/region/x/register", "repository/index", "logging"):
        status, _ = fetch(f"http://{stack.http}/v2/{path}", {})
        assert status == 403, path


# Many at once


def test_64_clients_at_once_and_nothing_is_lost(stack: Stack) -> None:
    prompts = ["a red circle", "a blue square", STAR, "a green heart"]

    def draw(i: int) -> tuple[int, bytes]:
        return i, stack.draw(prompts[i % 4], seed=i, steps=4 + i % 3, guidance_scale=1 + i % 2)[0]

    with ThreadPoolExecutor(64) as pool:
        pictures = dict(pool.map(draw, range(64)))
    assert len(pictures) == len(set(pictures.values())) == 64
    for i in (0, 33, 63):  # each its own, not its neighbour's
        assert np.abs(pixels(draw(i)[1]) - pixels(pictures[i])).max() <= 2


def test_beyond_the_limit_clients_are_told_at_once(stack: Stack) -> None:
    def draw(i: int) -> tuple[str, float]:
        begin = time.monotonic()
        try:
            stack.infer(*["a red circle"] * 16, steps=20)
            return "drawn", time.monotonic() - begin
        except InferenceServerException as error:
            return f"{error.status()} {error.message()}", time.monotonic() - begin

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(draw, range(12)))
    shed = [seconds for answer, seconds in answers if "the limit is 96" in answer]
    drawn = [seconds for status, seconds in answers if status == "drawn"]
    assert len(shed) + len(drawn) == 12
    assert len(drawn) == MAX_IN_FLIGHT // 16
    assert max(shed) < min(drawn)


# How it stands


def test_each_stage_is_a_process_of_its_own(stack: Stack) -> None:
    pids = {stack.replica(stage).pid for stage in STAGES_FROM_A_PICTURE}
    stubs = {process.pid for process in stack.processes("triton_python_backend_stub")}
    assert len(pids) == 4
    assert len(stubs) == len(list((ROOT / "model_repository").glob("*/1/model.py"))) == 6
    assert not pids & stubs


def test_the_processes_inside_triton_hold_no_torch(stack: Stack) -> None:
    for stub in stack.processes("triton_python_backend_stub"):
        assert not [m.path for m in stub.memory_maps() if "libtorch" in m.path]


def test_nothing_listens_beyond_loopback(stack: Stack) -> None:
    listening = [
        (process.name(), connection.laddr.ip.removeprefix("::ffff:"))
        for process in [psutil.Process(stack.process.pid), *stack.processes()]
        for connection in process.net_connections()
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= 3
    assert [name for name, address in listening if address != "127.0.0.1"] == []


def test_the_log_follows_a_request_by_its_id_and_keeps_prompts_private(stack: Stack) -> None:
    stack.infer("a very private wish", request_id="follow-me", steps=2)
    for stage in STAGES:
        for part, event in (
            ("triton", f"stage={stage} event=request request_id=follow-me shapes="),
            ("triton", f"stage={stage} event=response request_id=follow-me ms="),
            ("ray", f"event=computed stage={stage} request_id=follow-me shapes="),
            ("ray", f"event=set_up stage={stage} model=miniature-sd device=cpu dtype=float32"),
        ):
            assert wait_until(partial(in_log, stack, part, event), 10), event
    assert "private wish" not in stack.log("triton") + stack.log("ray")


def test_metrics_of_each_stage(stack: Stack) -> None:
    stack.draw("a red circle", steps=2)
    _, text = fetch(f"http://{stack.addresses['metrics']}/metrics")
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("latent_"))
    for stage in STAGES:
        label = f'stage="{stage}"'
        assert float(values[f"latent_relay_requests_total{{{label}}}"]) >= 1
        assert float(values[f"latent_relay_latency_seconds_count{{{label}}}"]) >= 1
        assert float(values[f"latent_relay_in_flight{{{label}}}"]) == 0
    assert float(values['latent_relay_failures_total{kind="invalid",stage="unet"}']) >= 0


# What dies


def draw_while(stack: Stack, disaster: Callable[[], None]) -> list[bytes]:
    """Eight requests of a second or more, with a disaster in their middle."""
    with ThreadPoolExecutor(8) as pool:
        drawing = [pool.submit(stack.draw, STAR, seed=i, steps=100) for i in range(8)]
        time.sleep(0.5)
        assert not any(picture.done() for picture in drawing)
        disaster()
        return [picture.result(120)[0] for picture in drawing]


def test_a_killed_encoder_costs_retries_not_requests(stack: Stack) -> None:
    victim = stack.replica("vae_encoder")
    victim.kill()
    with ThreadPoolExecutor(4) as pool:
        draw = partial(stack.draw, STAR, **from_picture(steps=4))
        pictures = [pool.submit(draw) for _ in range(4)]
        assert [len(picture.result(120)) for picture in pictures] == [1] * 4
    assert stack.replica("vae_encoder").pid != victim.pid


@pytest.mark.parametrize("stage", STAGES)
def test_a_killed_replica_costs_retries_not_requests(stack: Stack, stage: str) -> None:
    victim = stack.replica(stage)
    pictures = draw_while(stack, victim.kill)
    assert len(set(pictures)) == 8
    assert stack.replica(stage).pid != victim.pid
    again = stack.draw(STAR, seed=3, steps=100)[0]
    assert np.abs(pixels(again) - pixels(pictures[3])).max() <= 2


@pytest.mark.parametrize("name", ["triton_python_backend_stub", "tritonserver", "gcs_server"])
def test_a_part_that_dies_is_noticed_within_5_seconds_and_comes_back(
    stack: Stack, name: str
) -> None:
    said = stack.output.read_text().count("bringing it back")
    stack.processes(name)[0].kill()
    assert wait_until(lambda: stack.output.read_text().count("bringing it back") == said + 1, 5 + 1)
    assert wait_until(lambda: stack.output.read_text().count("back after") == said + 1, 120)
    assert looks_like_the_star(stack.draw(STAR, seed=7)[0])


# What the README says

README = (ROOT / "README.md").read_text()


def snippets(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.M | re.S)


def run_snippet(stack: Stack, folder: Path, command: list[str], snippet: str) -> str:
    """In a folder with what the README's reader has; the default ports are this stack's."""
    for name in ("client.py", "request.json", "Makefile", ".venv", "ray_stages", "scripts"):
        (folder / name).symlink_to(ROOT / name)
    for name in ("pyproject.toml", "models", "relay_client"):
        (folder / name).symlink_to(ROOT / name)
    text = snippet.replace("127.0.0.1:8000", stack.http).replace("127.0.0.1:8001", stack.grpc)
    environment = {**os.environ, "TRITON_HTTP": stack.http, "TRITON_GRPC": stack.grpc}
    done = subprocess.run(
        [*command, text], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# What the snippets print that keep no file: pictures in JSON, or whether a request was found.
SAID = re.compile(r'"image_base64":\s*"iVBORw|"found":\s*false')


@pytest.mark.parametrize("snippet", snippets("sh"))
def test_shell_snippets_of_the_readme(stack: Stack, tmp_path: Path, snippet: str) -> None:
    if "curl" in snippet and shutil.which("curl") is None:
        pytest.skip("no curl on this machine")
    output = run_snippet(stack, tmp_path, ["bash", "-euo", "pipefail", "-c"], snippet)
    pictures = [Image.open(file).size for file in tmp_path.glob("*.png")]
    assert pictures == [(128, 128)] * len(pictures)
    assert pictures or SAID.search(output)


@pytest.mark.parametrize("snippet", snippets("python"))
def test_python_snippets_of_the_readme(stack: Stack, tmp_path: Path, snippet: str) -> None:
    (tmp_path / "sketch.jpg").write_bytes(encoded(CIRCLE, "jpeg"))
    run_snippet(stack, tmp_path, [sys.executable, "-c"], snippet)
    (picture,) = tmp_path.glob("*.png")
    assert Image.open(picture).size == (128, 128)


# One stack a command, and the end


def test_a_command_uses_the_stack_that_runs(stack: Stack) -> None:
    show = "import os; print(os.environ['TRITON_GRPC'])"
    command = [sys.executable, "-m", "ray_stages", "exec", "--", sys.executable, "-c", show]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True)
    assert done.stdout.strip() == stack.grpc
    assert f"process {stack.process.pid}" in done.stderr


@pytest.mark.parametrize("family", checkpoints.FAMILIES)
def test_other_checkpoints_are_served_by_a_stack_of_their_own(tmp_path: Path, family: str) -> None:
    from diffusers import StableDiffusionPipeline

    folder = checkpoints.make(family, tmp_path / family)
    picture = tmp_path / "out.png"
    run = [sys.executable, "-m", "ray_stages", "exec", "--"]
    draw = [sys.executable, "client.py", "a red circle", "-o", str(picture), "--seed", "5"]
    environment = {**os.environ, "MODEL": str(folder), "DEFAULT_STEPS": "4"}
    done = subprocess.run([*run, *draw], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    import torch

    pipeline: Any = StableDiffusionPipeline.from_pretrained(folder)
    theirs = pipeline(
        "a red circle",
        num_inference_steps=4,
        guidance_scale=0.0 if family == "turbo" else 7.5,
        generator=torch.Generator().manual_seed(5),
    ).images[0]
    difference = pixels(picture.read_bytes()) - np.asarray(theirs).astype(int)
    assert np.abs(difference).max() <= 2


def test_a_failing_command_keeps_its_status_and_a_wrong_setting_is_named() -> None:
    run = [sys.executable, "-m", "ray_stages", "exec", "--", "false"]
    wrong = {**os.environ, "MODEL": "/nowhere"}
    done = subprocess.run(run, cwd=ROOT, env=wrong, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == (
        "latent-relay: MODEL=/nowhere is not a checkpoint's directory or a Hugging Face id\n"
    )


def test_sigterm_drains_and_leaves_nothing_behind(stack: Stack) -> None:
    """Runs last: it ends the stack."""
    everything = stack.processes()
    (ray_folder,) = {
        argument.removeprefix("--temp-dir=").removesuffix("/ray")
        for process in everything
        for argument in process.cmdline()
        if argument.startswith("--temp-dir=")
    }
    (option,) = [o for o in stack.processes("tritonserver")[0].cmdline() if "shm-region" in o]
    segments = f"{option.rpartition('=')[2]}*"
    assert list(Path("/dev/shm").glob(segments))
    with ThreadPoolExecutor(4) as pool:
        drawing = [pool.submit(stack.draw, STAR, seed=i, steps=150) for i in range(4)]
        time.sleep(0.5)
        assert not any(picture.done() for picture in drawing)
        stack.process.send_signal(signal.SIGTERM)
        assert wait_until(lambda: "draining" in stack.output.read_text(), 5)
        time.sleep(0.5)
        with pytest.raises(InferenceServerException) as refusal:
            stack.infer("too late")
        assert "the server is stopping" in str(refusal.value.message())
        assert refusal.value.status() == "StatusCode.UNAVAILABLE"
        assert len({picture.result(60)[0] for picture in drawing}) == 4
    assert stack.process.wait(60) == 0
    assert "stopped" in stack.output.read_text()
    assert not Path(ray_folder).exists()
    alive = psutil.wait_procs(everything, timeout=10)[1]
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []
    assert list(Path("/dev/shm").glob(segments)) == []

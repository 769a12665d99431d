"""The integration suite: it starts a real tritonserver and a real Ray once, and calls them."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.grpc.aio as triton_grpc_aio
import tritonclient.http as triton_http
from PIL import Image
from tritonclient.utils import InferenceServerException

from tests.support import checkpoints
from tests.support.paths import ROOT
from tests.support.pictures import TOLERANCE, max_difference
from tests.support.stacks import (
    ENSEMBLE,
    MAX_IN_FLIGHT,
    STAGES,
    STAR,
    Stack,
    fetch,
    looks_like_the_star,
    tensors,
)
from tests.support.waiting import wait_until

# Pictures


def test_the_star_is_yellow_and_the_background_black(stack: Stack) -> None:
    drawn = [looks_like_the_star(stack.draw(STAR, seed=seed)[0]) for seed in (7, 8, 9)]
    assert drawn == [True, True, True]


def test_a_seed_determines_the_bytes_of_the_picture(stack: Stack) -> None:
    first, again, other = (stack.draw(STAR, seed=seed)[0] for seed in (7, 7, 8))
    assert first == again
    assert max_difference(first, other) > 0


def test_several_prompts_give_the_same_pictures_as_single_requests(stack: Stack) -> None:
    prompts = ["a red circle", "a blue square", "a green heart"]
    answer = stack.infer(*prompts, seed=[5, 6, 7])
    assert answer.as_numpy("seed_used").tolist() == [5, 6, 7]
    together = list(answer.as_numpy("image"))
    for prompt, seed, png in zip(prompts, (5, 6, 7), together, strict=True):
        assert max_difference(stack.draw(prompt, seed=seed)[0], png) <= TOLERANCE
        assert base64.b64encode(png) in list(answer.as_numpy("image_base64"))


def test_without_a_seed_a_random_one_is_used_and_returned(stack: Stack) -> None:
    one, other = stack.infer("a red circle"), stack.infer("a red circle")
    seeds = [int(answer.as_numpy("seed_used")[0]) for answer in (one, other)]
    assert seeds[0] != seeds[1]
    again = stack.draw("a red circle", seed=seeds[0])[0]
    assert again == one.as_numpy("image")[0]


def test_the_png_contains_the_prompt_and_every_option(stack: Stack) -> None:
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


def test_the_response_contains_the_time_in_each_stage(stack: Stack) -> None:
    answer = stack.infer("a red circle", steps=4)
    for stage in STAGES:
        queue_ms, compute_ms = answer.as_numpy(f"{stage}_ms")
        assert queue_ms >= 0
        assert compute_ms > 0


# Clients


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

    first, *others = [answer.as_numpy("image")[0] for answer in asyncio.run(draw())]
    assert [max_difference(other, first) <= TOLERANCE for other in others] == [True] * 3


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


SOME_OUTPUTS = {ENSEMBLE: ["seed_used"], "text_encoder": ["deadline"]}


def test_a_client_may_request_some_outputs_only(stack: Stack) -> None:
    with stack.client() as client:
        for model, names in SOME_OUTPUTS.items():
            outputs = [triton_grpc.InferRequestedOutput(name) for name in names]
            inputs = tensors(triton_grpc, prompt=["a red circle"])
            for _ in range(20):  # a dropped output once ended Triton's stub, now and then
                answer = client.infer(model, inputs, outputs=outputs)
                assert [output.name for output in answer.get_response().outputs] == names


def test_a_client_may_call_each_stage_itself(stack: Stack) -> None:
    """Chained by the client, the stages give the same picture as the ensemble."""
    with stack.client() as client:
        encoded = client.infer("text_encoder", tensors(triton_grpc, prompt=[STAR]))
        names = ("prompt_embeds", "negative_prompt_embeds")
        embeds = {name: encoded.as_numpy(name) for name in names}
        denoised = client.infer("unet", tensors(triton_grpc, seed=7, **embeds))
        latents = denoised.as_numpy("latents")
        decoded = client.infer("vae_decoder", tensors(triton_grpc, latents=latents))
    assert max_difference(decoded.as_numpy("image")[0], stack.draw(STAR, seed=7)[0]) <= TOLERANCE


# Concurrency


def test_64_concurrent_clients_get_64_pictures(stack: Stack) -> None:
    prompts = ["a red circle", "a blue square", STAR, "a green heart"]

    def draw(i: int) -> tuple[int, bytes]:
        return i, stack.draw(prompts[i % 4], seed=i, steps=4 + i % 3, guidance_scale=1 + i % 2)[0]

    with ThreadPoolExecutor(64) as pool:
        pictures = dict(pool.map(draw, range(64)))
    assert len(pictures) == len(set(pictures.values())) == 64
    for i in (0, 33, 63):  # each client has its own picture
        assert max_difference(draw(i)[1], pictures[i]) <= TOLERANCE


def test_beyond_the_limit_clients_are_refused_at_once(stack: Stack) -> None:
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


# Commands and shutdown


def test_a_command_uses_the_stack_that_runs(stack: Stack) -> None:
    show = "import os; print(os.environ['TRITON_GRPC'])"
    command = [sys.executable, "-m", "ray_stages", "exec", "--", sys.executable, "-c", show]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True)
    assert done.stdout.strip() == stack.grpc
    assert f"process {stack.process.pid}" in done.stderr


# The default checkpoint is of the first family, so only the others are tested here.
@pytest.mark.parametrize("family", [name for name in checkpoints.FAMILIES if name != "sd15"])
def test_other_checkpoints_are_served_by_a_stack_of_their_own(tmp_path: Path, family: str) -> None:
    from diffusers import StableDiffusionPipeline

    folder = checkpoints.make(family, tmp_path / family)
    picture = tmp_path / "out.png"
    run = [sys.executable, "-m", "ray_stages", "exec", "--"]
    draw = [sys.executable, "client.py", "a red circle", "-o", str(picture), "--seed", "5"]
    settings = {"MODEL": str(folder), "DEFAULT_STEPS": "4", "PRECISION": "float32"}
    environment = {**os.environ, **settings}
    done = subprocess.run([*run, *draw], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    import torch

    pipeline: Any = StableDiffusionPipeline.from_pretrained(folder)
    expected = pipeline(
        "a red circle",
        num_inference_steps=4,
        guidance_scale=0.0 if family == "turbo" else 7.5,
        generator=torch.Generator().manual_seed(5),
    ).images[0]
    assert max_difference(picture.read_bytes(), expected) <= TOLERANCE


def test_the_error_names_a_wrong_setting() -> None:
    run = [sys.executable, "-m", "ray_stages", "exec", "--", "false"]
    wrong = {**os.environ, "MODEL": "/nowhere"}
    done = subprocess.run(run, cwd=ROOT, env=wrong, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == (
        "latent-relay: MODEL=/nowhere: not a checkpoint's folder or a Hugging Face id\n"
    )


def test_sigterm_drains_and_leaves_nothing_behind(stack: Stack) -> None:
    """This test is the last one, because it stops the stack."""
    processes = stack.processes()
    (ray_folder,) = {
        argument.removeprefix("--temp-dir=").removesuffix("/ray")
        for process in processes
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
    alive = psutil.wait_procs(processes, timeout=10)[1]
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []
    assert list(Path("/dev/shm").glob(segments)) == []

"""What a real stack refuses, and that nobody else is harmed."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException

from tests.support.stacks import ENSEMBLE, Stack, fetch, tensors


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

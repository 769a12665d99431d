"""The command client.py: the requests it sends, the files it writes, the lines it prints."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from client import main
from relay_client import Client, RequestError
from tests.support.fake_triton_server import PROGRAM, FakeTriton, TritonError, png_of_seed
from tests.support.terminal import run_on_terminal
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("somewhere")]

EVERY_OPTION = """
    --negative-prompt blur --seed 7 --seed 8 --steps 12 --guidance-scale 2.5
    --height 64 --width 128 --scheduler ddim --request-id tuesday --timeout 60 --priority 2
    --guidance-rescale 0.5 --guidance-start 0.25 --guidance-end 0.75 --dynamic-threshold 0.5
"""


def test_options_left_out_are_not_sent(triton: FakeTriton) -> None:
    assert main(["a red circle", *triton.arguments]) == 0
    assert list(triton.requests[0].inputs) == ["prompt"]


def test_command_line_passes_every_option(triton: FakeTriton) -> None:
    assert main(["a", "b", *EVERY_OPTION.split(), *triton.arguments]) == 0
    [request] = triton.requests
    assert request.id == "tuesday"
    assert 59e6 < request.timeout <= 60e6
    assert {name: tensor.values for name, tensor in request.inputs.items()} == {
        "prompt": [b"a", b"b"],
        "negative_prompt": [b"blur"],
        "seed": [7, 8],
        "steps": [12],
        "guidance_scale": [2.5],
        "height": [64],
        "width": [128],
        "scheduler": [b"ddim"],
        "priority": [2],
        "guidance_rescale": [0.5],
        "guidance_start": [0.25],
        "guidance_end": [0.75],
        "dynamic_threshold": [0.5],
    }


def test_command_starts_from_a_picture(
    triton: FakeTriton, somewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (somewhere / "init.png").write_bytes(png_of_seed(1))
    start = ["--init-image", "init.png", "--strength", "0.5", "--timings"]
    assert main(["a", *start, *triton.arguments]) == 0
    assert triton.requests[0].inputs["init_image"].values == [png_of_seed(1)]
    assert triton.requests[0].inputs["strength"].values == [0.5]
    assert "vae_encoder        3.0 ms, after 1.0 ms in queue" in capsys.readouterr().out


def test_latents_are_kept_beside_the_pictures(triton: FakeTriton, somewhere: Path) -> None:
    assert main(["a", "b", "--dump-latents-every", "2", *triton.arguments]) == 0
    assert np.load(somewhere / "out-1.npy").tolist() == [[[[0, 1], [2, 3]]], [[[4, 5], [6, 7]]]]
    assert np.load(somewhere / "out-2.npy").shape == (2, 1, 2, 2)


def test_says_where_the_picture_is(
    triton: FakeTriton, somewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["a red circle", "--timings", "-o", "circle.png", *triton.arguments]) == 0
    assert (somewhere / "circle.png").read_bytes() == png_of_seed(41)
    text, errors = capsys.readouterr()
    assert text.splitlines() == [
        "circle.png  16x8  seed 41",
        "text_encoder       1.5 ms, after 0.5 ms in queue",
        "unet             250.0 ms, after 2.0 ms in queue",
        "vae_decoder       12.0 ms, after 0.2 ms in queue",
    ]
    assert errors == ""


def test_several_pictures_are_numbered(triton: FakeTriton, somewhere: Path) -> None:
    assert main(["a", "b", "--seed", "1", "--seed", "2", *triton.arguments]) == 0
    assert {file.name: file.read_bytes() for file in somewhere.iterdir()} == {
        "out-1.png": png_of_seed(1),
        "out-2.png": png_of_seed(2),
    }


def test_json_is_all_there_is_on_standard_output(
    triton: FakeTriton, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["a", "b", "--seed", "5", "--json", *triton.arguments]) == 0
    common = {"seed": 5, "width": 16, "height": 8, "bytes": len(png_of_seed(5))}
    assert json.loads(capsys.readouterr().out) == {
        "pictures": [
            {"file": "out-1.png", "prompt": "a", **common},
            {"file": "out-2.png", "prompt": "b", **common},
        ],
        "stages": {
            "text_encoder": {"queue_ms": 0.5, "compute_ms": 1.5},
            "unet": {"queue_ms": 2.0, "compute_ms": 250.0},
            "vae_decoder": {"queue_ms": 0.25, "compute_ms": 12.0},
        },
    }


def test_picture_on_standard_output(
    triton: FakeTriton, somewhere: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert main(["a", "-o", "-", *triton.arguments]) == 0
    picture, text = capfdbinary.readouterr()
    assert picture == png_of_seed(41)
    assert text == b"-  16x8  seed 41\n"
    assert list(somewhere.iterdir()) == []


@pytest.mark.parametrize("code", ["INVALID_ARGUMENT", "CANCELLED", "INTERNAL", "UNAVAILABLE"])
def test_refusal_is_one_line_and_status_1(
    triton: FakeTriton, client: Client, code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    triton.errors = [
        TritonError(code, "in ensemble 'stable_diffusion', steps: got 0,\nexpected 1 to 150")
    ]
    assert main(["a", "--retries", "0", *triton.arguments]) == 1
    assert capsys.readouterr() == ("", "client.py: steps: got 0, expected 1 to 150\n")

    client.retries = 0
    triton.errors = [TritonError(code, "no")]
    with pytest.raises(RequestError, match="no") as refused:
        client.generate("a")
    assert refused.value.code == code


def test_no_server(protocol: str, free_port: int, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--url", f"127.0.0.1:{free_port}", *(["--http"] if protocol == "http" else [])]
    assert main(["a", "--retries", "1", *where]) == 1
    text, errors = capsys.readouterr()
    assert text == ""
    assert errors.startswith(f"client.py: no server at 127.0.0.1:{free_port} (Connection refused")
    assert errors.endswith("`make serve` starts one\n")
    assert errors.count("\n") == 1


def test_a_server_that_dies_is_named(triton: FakeTriton) -> None:
    triton.proceed.clear()
    command = triton.command("a", "--retries", "0")
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert wait_until(lambda: len(triton.requests) == 1)
        triton.kill()
        _, errors = process.communicate(timeout=10)
    assert process.returncode == 1
    assert errors.startswith(f"client.py: no server at {triton.url} (")
    assert errors.count("\n") == 1


def test_silent_server_runs_into_the_timeout(
    triton: FakeTriton, capsys: pytest.CaptureFixture[str]
) -> None:
    triton.proceed.clear()
    begun = time.monotonic()
    assert main(["a", "--timeout", "0.2", *triton.arguments]) == 1
    assert time.monotonic() - begun < 3
    assert capsys.readouterr().err == f"client.py: no answer from {triton.url} in time\n"
    assert len(triton.requests) == 1


def test_address_from_the_environment(
    triton: FakeTriton, protocol: str, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ["--http"] if protocol == "http" else []
    monkeypatch.setenv(f"TRITON_{protocol.upper()}", triton.url)
    assert main(["a", *flags]) == 0
    monkeypatch.setenv(f"TRITON_{protocol.upper()}", f"127.0.0.1:{free_port}")
    assert main(["a", *triton.arguments]) == 0
    assert len(triton.requests) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("", "prompt"),
        ("a --steps many", "--steps"),
        ("a --step 5", "--step"),
        ("a --timeout 0", "--timeout"),
        ("a --timeout nan", "--timeout"),
        ("a -o nowhere/a.png", "nowhere/a.png"),
        ("a -o .", "directory"),
        ("a b -o -", "one prompt"),
        ("a -o - --json", "--json"),
        ("a -o - --dump-latents-every 2", "--dump-latents-every"),
        ("a --url http://localhost:8000", "host:port"),
        ("a --preview /dev/null", "directory"),
        ("a --preview-every 2", "--stream"),
        ("a --stream --dump-latents-every 2", "--dump-latents-every"),
        ("a --stream --init-image /dev/null", "--init-image"),
        ("a --init-image nowhere.png", "nowhere.png"),
        ("a --strength 0.5", "--init-image"),
    ],
)
def test_usage(options: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(options.split())
    assert left.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "number"), [("--steps", 2**40), ("--width", -(2**31) - 1), ("--seed", 2**63)]
)
def test_numbers_too_large_for_the_wire(
    triton: FakeTriton, option: str, number: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["a", option, str(number), *triton.arguments]) == 1
    assert capsys.readouterr().err.startswith(f"client.py: {option[2:]}: got {number}, expected ")
    assert triton.requests == []


def test_prompt_that_is_not_utf8_reaches_the_server(triton: FakeTriton) -> None:
    assert main([os.fsdecode(b"caf\xe9"), *triton.arguments]) == 0
    assert triton.requests[0].inputs["prompt"].values == [b"caf\xe9"]


def test_progress_is_shown_on_a_terminal(triton: FakeTriton) -> None:
    shown = ("drawing 2 pictures", "0:00:01")
    lines = run_on_terminal(triton, "a", "b", "-o", "out.png", shown=shown)
    assert lines == ["out-1.png  16x8  seed 41", "out-2.png  16x8  seed 41"]


@pytest.mark.parametrize("word", ["OUT=/no/folder/a.png", "STEPS=many"])
def test_make_image_refuses_before_a_stack_starts(word: str) -> None:
    command = ["make", "-o", "setup", "image", word]
    done = subprocess.run(command, cwd=PROGRAM.parent, capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert done.stderr.splitlines()[1].startswith("client.py: error: ")
    assert word.partition("=")[2] in done.stderr

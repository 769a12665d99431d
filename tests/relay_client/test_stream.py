"""Previews: `stream` of the library, --stream and --preview of the command."""

from __future__ import annotations

from pathlib import Path

import pytest

from client import main
from relay_client import Client, RequestError
from tests.support.fake_triton_server import FakeTriton, TritonError, png_of_seed
from tests.support.terminal import run_on_terminal
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("somewhere")]

ENSEMBLE = "in ensemble 'stable_diffusion_stream', "


def test_previews_come_in_order_and_the_last_is_the_picture(client: Client) -> None:
    previews = list(client.stream(["a", "b"], seed=[7, 100], steps=3))
    assert [(preview.step, preview.steps) for preview in previews] == [(1, 3), (2, 3), (3, 3)]
    assert [preview.is_final for preview in previews] == [False, False, True]
    seen = [[picture.png for picture in preview.pictures] for preview in previews]
    assert seen == [[png_of_seed(7 + left), png_of_seed(100 + left)] for left in (2, 1, 0)]
    last = previews[-1].pictures
    assert [(picture.prompt, picture.seed) for picture in last] == [("a", 7), ("b", 100)]
    assert last[0].stages["unet"] == (2.0, 250.0)


def test_each_preview_comes_when_it_is_drawn(triton: FakeTriton, client: Client) -> None:
    triton.hold_at = 3
    triton.proceed.clear()
    previews = client.stream("a", steps=4)
    assert [next(previews).step for _ in range(2)] == [1, 2]  # while the third is not even begun
    triton.proceed.set()
    assert [preview.step for preview in previews] == [3, 4]


def test_options_of_a_stream_are_sent(triton: FakeTriton, client: Client) -> None:
    options = {"steps": 4, "seed": 7, "scheduler": "ddim", "guidance_end": 0.5, "priority": 2}
    previews = client.stream("a ✦", preview_every=3, request_id="tuesday", **options)  # type: ignore[arg-type]
    assert [preview.step for preview in previews] == [3, 4]
    [request] = triton.requests
    assert request.id == "tuesday"
    assert {name: tensor.values for name, tensor in request.inputs.items()} == {
        "prompt": ["a ✦".encode()],
        "preview_every": [3],
        **{name: [value] for name, value in options.items()},
        "scheduler": [b"ddim"],
    }


@pytest.mark.parametrize("code", ["INVALID_ARGUMENT", "CANCELLED", "UNAVAILABLE"])
def test_a_refusal_has_its_code(triton: FakeTriton, client: Client, code: str) -> None:
    client.retries = 0
    triton.errors = [TritonError(code, f"{ENSEMBLE}[request id: x] steps: got 0")]
    with pytest.raises(RequestError, match=r"^steps: got 0$") as refused:
        list(client.stream("a"))
    assert refused.value.code == code


@pytest.mark.parametrize("protocol", ["grpc"], indirect=True)
def test_a_refusal_by_triton_itself_has_none(triton: FakeTriton, client: Client) -> None:
    triton.errors = [TritonError("UNKNOWN", "unknown model")]
    with pytest.raises(RequestError, match="unknown model") as refused:
        list(client.stream("a"))
    assert refused.value.code == "UNKNOWN"


def test_a_failure_halfway_ends_the_stream(triton: FakeTriton, client: Client) -> None:
    triton.fail_at = {3: TritonError("CANCELLED", f"{ENSEMBLE}cancelled")}
    previews = client.stream("a")
    assert [next(previews).step for _ in range(2)] == [1, 2]
    with pytest.raises(RequestError, match=r"^cancelled$") as failed:
        next(previews)
    assert failed.value.code == "CANCELLED"
    assert len(triton.requests) == 1


def test_a_stream_is_repeated_only_before_its_first_preview(
    triton: FakeTriton, client: Client
) -> None:
    triton.errors = [TritonError("UNAVAILABLE", "busy")]
    assert [preview.step for preview in client.stream("a")] == [1, 2, 3, 4]
    assert len(triton.requests) == 2

    triton.fail_at = {2: TritonError("UNAVAILABLE", "stopping")}
    with pytest.raises(RequestError, match="stopping"):
        list(client.stream("a"))
    assert len(triton.requests) == 3


def test_a_stream_without_an_end_is_an_error(triton: FakeTriton, client: Client) -> None:
    triton.ends_early = True
    with pytest.raises(RequestError, match="ended before the final pictures"):
        list(client.stream("a"))


def test_a_server_that_dies_raises_connection_error(triton: FakeTriton, client: Client) -> None:
    triton.hold_at = 3
    triton.proceed.clear()
    previews = client.stream("a")
    assert [next(previews).step for _ in range(2)] == [1, 2]
    triton.kill()
    with pytest.raises(ConnectionError, match=f"no server at {triton.url}"):
        next(previews)


def test_the_timeout_covers_all_steps(triton: FakeTriton, client: Client) -> None:
    client.timeout = 0.5
    triton.hold_at = 3
    triton.proceed.clear()
    with pytest.raises(TimeoutError, match="in time"):
        list(client.stream("a", request_id="tuesday"))
    assert wait_until(lambda: triton.cancelled_ids == ["tuesday"])


def test_wrong_numbers_are_refused_before_the_first_step(client: Client) -> None:
    with pytest.raises(RequestError, match="preview_every"):
        client.stream("a", preview_every=2**40)
    with pytest.raises(TypeError, match=r"'stesp'.*steps"):
        client.stream("a", stesp=3)  # type: ignore[call-arg]


def test_command_writes_the_final_picture(
    triton: FakeTriton, somewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["a", "--stream", "--seed", "7", "--timings", *triton.arguments]) == 0
    assert {file.name: file.read_bytes() for file in somewhere.iterdir()} == {
        "out.png": png_of_seed(7)
    }
    text, errors = capsys.readouterr()
    assert text.splitlines()[0] == "out.png  16x8  seed 7"
    assert errors == ""
    assert triton.requests[0].value("preview_every", 0) == 1


def test_command_keeps_the_previews(triton: FakeTriton, somewhere: Path) -> None:
    arguments = ["--preview", "far/steps", "--preview-every", "3", "--seed", "7"]
    assert main(["a", *arguments, *triton.arguments]) == 0
    assert {file.name: file.read_bytes() for file in (somewhere / "far/steps").iterdir()} == {
        "step_003.png": png_of_seed(8),
        "step_004.png": png_of_seed(7),
    }
    assert (somewhere / "out.png").read_bytes() == png_of_seed(7)


def test_command_numbers_the_previews_of_several_prompts(
    triton: FakeTriton, somewhere: Path
) -> None:
    assert main(["a", "b", "--preview", ".", "--steps", "2", *triton.arguments]) == 0
    names = ["out-1.png", "out-2.png"]
    names += [f"step_00{step}-{i}.png" for step in (1, 2) for i in (1, 2)]
    assert sorted(file.name for file in somewhere.iterdir()) == names


def test_command_shows_the_step_on_a_terminal(triton: FakeTriton) -> None:
    triton.hold_at = 3
    lines = run_on_terminal(triton, "a", "--stream", shown=("step 2 of 4",))
    assert lines == ["out.png  16x8  seed 41"]

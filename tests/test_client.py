"""The client library against a stand-in for Triton."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from relay_client import Client, RequestError
from tests.fake_server import FakeTriton, Refusal, png_of

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("somewhere")]


def test_options_travel_with_name_type_and_shape(triton: FakeTriton, client: Client) -> None:
    client.generate(
        ["a red circle", "ein grüner Stern ✦"],
        negative_prompt="blur",
        seed=[7, 8],
        steps=12,
        guidance_scale=2.5,
        height=64,
        width=128,
        scheduler="ddim",
        request_id="tuesday",
    )
    [request] = triton.seen
    assert request.id == "tuesday"
    assert request.inputs == {
        "prompt": ("BYTES", [2], [b"a red circle", "ein grüner Stern ✦".encode()]),
        "negative_prompt": ("BYTES", [1], [b"blur"]),
        "seed": ("INT64", [2], [7, 8]),
        "steps": ("INT32", [1], [12]),
        "guidance_scale": ("FP32", [1], [2.5]),
        "height": ("INT32", [1], [64]),
        "width": ("INT32", [1], [128]),
        "scheduler": ("BYTES", [1], [b"ddim"]),
    }


def test_zero_and_empty_are_values_not_absence(triton: FakeTriton, client: Client) -> None:
    client.generate("x", negative_prompt="", seed=0, guidance_scale=0.0)
    assert triton.seen[0].inputs["negative_prompt"].values == [b""]
    assert triton.seen[0].inputs["seed"].values == [0]
    assert triton.seen[0].inputs["guidance_scale"].values == [0.0]


def test_pictures_come_back_in_order(client: Client) -> None:
    pictures = client.generate(["a", "b", "c"], seed=[3, 1, 2])
    assert [(picture.prompt, picture.seed) for picture in pictures] == [
        ("a", 3),
        ("b", 1),
        ("c", 2),
    ]
    assert [picture.png for picture in pictures] == [png_of(3), png_of(1), png_of(2)]
    assert pictures[0].size == (16, 8)
    assert pictures[0].stages["unet"] == (2.0, 250.0)
    assert pictures[0].stages["unet"].compute_ms == 250.0


def test_threads_share_a_client(triton: FakeTriton, client: Client) -> None:
    def seed_and_png(seed: int) -> tuple[int, bytes]:
        [picture] = client.generate(f"picture {seed}", seed=seed)
        return picture.seed, picture.png

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(seed_and_png, range(64))) == [(n, png_of(n)) for n in range(64)]


def test_only_a_busy_server_is_asked_again(triton: FakeTriton, client: Client) -> None:
    triton.refusals = [Refusal("UNAVAILABLE", "busy"), Refusal("UNAVAILABLE", "busy")]
    assert client.generate("a", seed=3)[0].png == png_of(3)
    first, second, third = (request.timeout for request in triton.seen)
    assert first > second > third  # one deadline, however many tries

    triton.seen.clear()
    triton.refusals = [Refusal("INTERNAL", "a bug")]
    with pytest.raises(RequestError, match="a bug"):
        client.generate("a")
    assert len(triton.seen) == 1


def test_tries_are_bounded(triton: FakeTriton, client: Client) -> None:
    triton.refusals = [Refusal("UNAVAILABLE", "busy") for _ in range(100)]
    client.retries = 2
    with pytest.raises(RequestError, match="busy"):
        client.generate("a")
    assert len(triton.seen) == 3

    triton.seen.clear()
    client.retries, client.timeout = 1000, 0.3
    with pytest.raises(RequestError, match="busy"):
        client.generate("a")
    assert 2 <= len(triton.seen) <= 6  # 0.05 s apart


def test_waits_for_a_server_that_is_starting(protocol: str, free_port: int) -> None:
    started: list[FakeTriton] = []
    starter = threading.Timer(0.5, lambda: started.append(FakeTriton(protocol, free_port)))
    starter.start()
    url = f"127.0.0.1:{free_port}"
    with Client(url, http=protocol == "http", timeout=10, retries=1000) as client:
        try:
            assert client.generate("a", seed=9)[0].png == png_of(9)
        finally:
            starter.join()
            started[0].stop()


@pytest.mark.filterwarnings("error")
def test_infinite_guidance_is_left_to_the_server(triton: FakeTriton, client: Client) -> None:
    client.generate("a", guidance_scale=1e300)
    assert triton.seen[0].inputs["guidance_scale"].values == [float("inf")]

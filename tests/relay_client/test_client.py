"""The client library against a fake Triton."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from relay_client import AddressError, Client, RequestError
from relay_client.options import OPTIONS, Options
from tests.support.fake_triton_server import FakeTriton, TritonError, png_of_seed

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("somewhere")]


def test_options_are_sent_with_name_type_and_shape(triton: FakeTriton, client: Client) -> None:
    client.generate(
        ["a red circle", "ein grüner Stern ✦"],
        negative_prompt="blur",
        seed=[7, 8],
        steps=12,
        guidance_scale=2.5,
        height=64,
        width=128,
        scheduler="ddim",
        priority=2,
        guidance_rescale=0.5,
        guidance_start=0.25,
        guidance_end=0.75,
        dynamic_threshold=0.5,
        request_id="tuesday",
    )
    [request] = triton.requests
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
        "priority": ("INT32", [1], [2]),
        "guidance_rescale": ("FP32", [1], [0.5]),
        "guidance_start": ("FP32", [1], [0.25]),
        "guidance_end": ("FP32", [1], [0.75]),
        "dynamic_threshold": ("FP32", [1], [0.5]),
    }


def test_every_option_has_a_type_and_a_help_text() -> None:
    assert list(OPTIONS) == list(Options.__annotations__)


def test_an_unknown_option_is_named(client: Client) -> None:
    with pytest.raises(TypeError, match=r"'stesp'.*steps"):
        client.generate("a", stesp=3)  # type: ignore[call-arg]


def test_a_request_has_an_id_of_its_own(triton: FakeTriton, client: Client) -> None:
    client.generate("a")
    client.generate("a")
    first, second = (request.id for request in triton.requests)
    assert first
    assert second
    assert first != second


def test_an_init_image_goes_to_image_to_image(triton: FakeTriton, client: Client) -> None:
    file = b"\x89PNG\x00\xff\x00"
    [picture] = client.generate("a", init_image=file, strength=0.5, seed=7)
    [request] = triton.requests
    assert request.model == "image_to_image"
    assert request.inputs["init_image"] == ("BYTES", [1], [file])
    assert request.inputs["strength"] == ("FP32", [1], [0.5])
    assert picture.png == png_of_seed(7)
    assert list(picture.stages) == ["vae_encoder", "text_encoder", "unet", "vae_decoder"]
    assert picture.stages["vae_encoder"] == (1.0, 3.0)


def test_latents_are_returned_only_on_request(triton: FakeTriton, client: Client) -> None:
    pictures = client.generate(["a", "b"], dump_latents_every=2)
    assert triton.requests[0].inputs["dump_latents_every"] == ("INT32", [1], [2])
    shapes = [picture.latents.shape for picture in pictures if picture.latents is not None]
    assert shapes == [(2, 1, 2, 2), (2, 1, 2, 2)]
    assert client.generate("a")[0].latents is None
    assert "intermediate_latents" not in triton.requests[1].outputs


def test_zero_and_empty_are_sent(triton: FakeTriton, client: Client) -> None:
    client.generate("x", negative_prompt="", seed=0, guidance_scale=0.0)
    assert triton.requests[0].inputs["negative_prompt"].values == [b""]
    assert triton.requests[0].inputs["seed"].values == [0]
    assert triton.requests[0].inputs["guidance_scale"].values == [0.0]


def test_no_prompts_are_left_to_the_server(triton: FakeTriton, client: Client) -> None:
    assert client.generate([]) == []
    assert triton.requests[0].inputs["prompt"] == ("BYTES", [0], [])


def test_pictures_come_back_in_order(client: Client) -> None:
    pictures = client.generate(["a", "b", "c"], seed=[3, 1, 2])
    assert [(picture.prompt, picture.seed) for picture in pictures] == [
        ("a", 3),
        ("b", 1),
        ("c", 2),
    ]
    assert [picture.png for picture in pictures] == [png_of_seed(3), png_of_seed(1), png_of_seed(2)]
    assert pictures[0].size == (16, 8)
    assert pictures[0].stages["unet"] == (2.0, 250.0)
    assert pictures[0].stages["unet"].compute_ms == 250.0


def test_threads_share_a_client(client: Client) -> None:
    def seed_and_png(seed: int) -> tuple[int, bytes]:
        [picture] = client.generate(f"picture {seed}", seed=seed)
        return picture.seed, picture.png

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(seed_and_png, range(64))) == [(n, png_of_seed(n)) for n in range(64)]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("NOT_FOUND", "Request for unknown model: 'stable_diffusion' has no available versions"),
        ("INTERNAL", "Stub process 'unet_0_0' is not healthy."),
        ("INTERNAL", "Failed to increase the shared memory pool size for key 'x' to 8 bytes."),
    ],
)
def test_a_request_is_repeated_while_triton_restarts_or_is_full(
    triton: FakeTriton, client: Client, code: str, reason: str
) -> None:
    triton.errors = [TritonError(code, reason)]
    assert client.generate("a", seed=3)[0].png == png_of_seed(3)
    assert len(triton.requests) == 2


def test_a_request_is_repeated_only_while_the_server_is_busy(
    triton: FakeTriton, client: Client
) -> None:
    triton.errors = [TritonError("UNAVAILABLE", "busy"), TritonError("UNAVAILABLE", "busy")]
    assert client.generate("a", seed=3)[0].png == png_of_seed(3)
    first, second, third = (request.timeout for request in triton.requests)
    assert first > second > third  # one deadline, however many tries

    triton.requests.clear()
    triton.errors = [TritonError("INTERNAL", "a bug")]
    with pytest.raises(RequestError, match="a bug"):
        client.generate("a")
    assert len(triton.requests) == 1


def test_retries_are_limited_by_number_and_by_time(triton: FakeTriton, client: Client) -> None:
    triton.errors = [TritonError("UNAVAILABLE", "busy") for _ in range(100)]
    client.retries = 2
    with pytest.raises(RequestError, match="busy"):
        client.generate("a")
    assert len(triton.requests) == 3

    triton.requests.clear()
    client.retries, client.timeout = 1000, 0.3
    with pytest.raises(RequestError, match="busy"):
        client.generate("a")
    assert 2 <= len(triton.requests) <= 6  # 0.05 s apart


def test_waits_for_a_server_that_is_starting(protocol: str, free_port: int) -> None:
    started: list[FakeTriton] = []
    starter = threading.Timer(0.5, lambda: started.append(FakeTriton(protocol, free_port)))
    starter.start()
    url = f"127.0.0.1:{free_port}"
    with Client(url, http=protocol == "http", timeout=10, retries=1000) as client:
        try:
            assert client.generate("a", seed=9)[0].png == png_of_seed(9)
        finally:
            starter.join()
            started[0].stop()


@pytest.mark.filterwarnings("error")
def test_infinite_guidance_is_left_to_the_server(triton: FakeTriton, client: Client) -> None:
    client.generate("a", guidance_scale=1e300)
    assert triton.requests[0].inputs["guidance_scale"].values == [float("inf")]


def test_an_address_for_http_is_not_one_for_grpc(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AddressError, match="host:port"):
        Client("http://localhost:8000")
    monkeypatch.setenv("TRITON_GRPC", "https://localhost:8000")
    with pytest.raises(AddressError, match="host:port"):
        Client()


@pytest.mark.parametrize("protocol", ["http"], indirect=True)
@pytest.mark.parametrize("form", ["{}", "http://{}", "http://{}/"])
def test_http_takes_both_forms_of_address(triton: FakeTriton, form: str) -> None:
    with Client(form.format(triton.url), http=True) as client:
        assert client.generate("a", seed=9)[0].png == png_of_seed(9)


def test_a_proxy_in_the_environment_is_not_asked_for_loopback(
    client: Client, monkeypatch: pytest.MonkeyPatch, triton: FakeTriton, protocol: str
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody listens there
    for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    with Client(triton.url, http=protocol == "http", retries=0) as fresh:
        assert fresh.generate("a red circle")

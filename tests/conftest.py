from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import tenacity
import torch

from ray_stages.families.checkpoint import Checkpoint
from ray_stages.settings import Settings
from relay_client import Client
from tests.support import checkpoints
from tests.support.browser import GatewayPage, chromium
from tests.support.fake_triton_server import FakeTriton
from tests.support.gateways import RunningGateway, running_gateway
from tests.support.stub_gateway import StubGateway

# Waiting threads of PyTorch spin, and beside a stack or another worker they take cores from it.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def checkpoint_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes the tiny checkpoint of a family, once a test run."""
    root = tmp_path_factory.mktemp("checkpoints")

    def folder(family: str) -> Path:
        path = root / family
        return path if path.exists() else checkpoints.make(family, path)

    return folder


@pytest.fixture
def load(checkpoint_folder: Callable[[str], Path]) -> Callable[[str], Checkpoint]:
    """The tiny checkpoint of a family as the stages load it."""
    return lambda family: Checkpoint(Settings(model=str(checkpoint_folder(family)), device="cpu"))


@pytest.fixture(params=["grpc", "http"])
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def triton(protocol: str) -> Iterator[FakeTriton]:
    fake = FakeTriton(protocol)
    yield fake
    fake.stop()


@pytest.fixture
def client(triton: FakeTriton, protocol: str) -> Iterator[Client]:
    with Client(triton.url, http=protocol == "http") as client:
        yield client


@pytest.fixture
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, no addresses from outside, and short waits between tries."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRITON_GRPC", raising=False)
    monkeypatch.delenv("TRITON_HTTP", raising=False)
    monkeypatch.setattr(tenacity, "wait_random_exponential", lambda **_: tenacity.wait_fixed(0.05))
    return tmp_path


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def fake_triton() -> Iterator[FakeTriton]:
    """The Triton of the gateways under test."""
    fake = FakeTriton("grpc")
    yield fake
    fake.stop()


@pytest.fixture
def start_gateway(
    fake_triton: FakeTriton, tmp_path: Path
) -> Iterator[Callable[..., RunningGateway]]:
    """Starts gateways with the given settings. Those of one test share a store."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(
            running_gateway(fake_triton, tmp_path, **settings)
        )


@pytest.fixture
def gateway(start_gateway: Callable[..., RunningGateway]) -> RunningGateway:
    return start_gateway()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def stub_gateway() -> Iterator[StubGateway]:
    stub = StubGateway()
    yield stub
    stub.stop()


@pytest.fixture
def open_page(browser: Any, stub_gateway: StubGateway) -> Iterator[Callable[..., GatewayPage]]:
    """Opens the page in a new profile. Asserts at the end that its console has no errors."""
    pages: list[GatewayPage] = []

    def open_page(**options: Any) -> GatewayPage:
        pages.append(GatewayPage(browser, stub_gateway.url, **options))
        return pages[-1]

    yield open_page
    for page in pages:
        page.close()
    assert [page.console_errors for page in pages] == [[] for _ in pages]


@pytest.fixture
def page(open_page: Callable[..., GatewayPage]) -> GatewayPage:
    return open_page()

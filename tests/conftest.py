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
from tests.support.browser import Visit, chromium
from tests.support.fake_triton_server import FakeTriton
from tests.support.gateways import Front, opened
from tests.support.stub_gateway import StubGateway

torch.set_num_threads(2)


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
def drawing() -> Iterator[FakeTriton]:
    """What stands behind a gateway."""
    fake = FakeTriton("grpc")
    yield fake
    fake.stop()


@pytest.fixture
def open_front(drawing: FakeTriton, tmp_path: Path) -> Iterator[Callable[..., Front]]:
    """Opens gateways with settings of their own, and one store."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(opened(drawing, tmp_path, **settings))


@pytest.fixture
def front(open_front: Callable[..., Front]) -> Front:
    return open_front()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def gateway() -> Iterator[StubGateway]:
    stub = StubGateway()
    yield stub
    stub.stop()


@pytest.fixture
def arrive(browser: Any, gateway: StubGateway) -> Iterator[Callable[..., Visit]]:
    """Opens the page; at the end its console must have stayed empty."""
    visits: list[Visit] = []

    def open_page(**options: Any) -> Visit:
        visits.append(Visit(browser, gateway.url, **options))
        return visits[-1]

    yield open_page
    for visit in visits:
        visit.leave()
    assert [visit.complaints for visit in visits] == [[] for _ in visits]


@pytest.fixture
def visit(arrive: Callable[..., Visit]) -> Visit:
    return arrive()

"""What a real stack keeps closed, and what it encrypts."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from ray_stages.launcher.ports import Ports
from ray_stages.launcher.triton_server import TritonServer
from ray_stages.settings import Settings
from relay_client import Client
from tests.support.fake_triton_server import FakeTriton
from tests.support.gateways import running_gateway
from tests.support.paths import ROOT
from tests.support.stacks import STAR, Stack, looks_like_the_star
from tests.support.waiting import wait_until

REGION = "sharedmemory/region/x"
CLOSED = [
    *(f"{kind}{rest}" for kind in ("system", "cuda") for rest in ("sharedmemory/status",)),
    *(f"{kind}{REGION}/{verb}" for kind in ("system", "cuda") for verb in ("register", "status")),
    *("systemsharedmemory/unregister", "cudasharedmemory/unregister"),
    *("repository/index", "repository/models/unet/load", "repository/models/unet/unload"),
    *("trace/setting", "models/unet/trace/setting", "logging"),
]
# However it is written, it opens nothing.
TWISTED = [
    *("/v2//logging", "//v2/logging", "/v2/./logging", "/v2/models/../logging", "/v2/logging/"),
    *("/v2/%6cogging", "/V2/LOGGING", "/v2/logging?x=1", "/v2/logging;x", "/v2/logging%00"),
    *("/v2/repository//index", "/v2/repository/index/", "/v2/repository/%69ndex", "/v2/trace//"),
]
CALLS: dict[str, Any] = {
    "SystemSharedMemoryStatus": service_pb2.SystemSharedMemoryStatusRequest(),
    "SystemSharedMemoryRegister": service_pb2.SystemSharedMemoryRegisterRequest(name="x", key="/x"),
    "SystemSharedMemoryUnregister": service_pb2.SystemSharedMemoryUnregisterRequest(),
    "CudaSharedMemoryStatus": service_pb2.CudaSharedMemoryStatusRequest(),
    "CudaSharedMemoryRegister": service_pb2.CudaSharedMemoryRegisterRequest(name="x"),
    "CudaSharedMemoryUnregister": service_pb2.CudaSharedMemoryUnregisterRequest(),
    "RepositoryIndex": service_pb2.RepositoryIndexRequest(),
    "RepositoryModelLoad": service_pb2.RepositoryModelLoadRequest(model_name="unet"),
    "RepositoryModelUnload": service_pb2.RepositoryModelUnloadRequest(model_name="unet"),
    "TraceSetting": service_pb2.TraceSettingRequest(),
    "LogSettings": service_pb2.LogSettingsRequest(),
}


def status(stack: Stack, method: str, path: str, headers: dict[str, str] | None = None) -> int:
    """As the path stands there: no library has put it in order."""
    connection = HTTPConnection(stack.http, timeout=10)
    try:
        connection.request(method, path, "{}" if method == "POST" else None, headers or {})
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.parametrize("path", CLOSED)
def test_over_http_memory_models_trace_and_log_settings_are_closed(stack: Stack, path: str) -> None:
    guess = {"closed": "guess"}
    found = [status(stack, method, f"/v2/{path}") for method in ("GET", "POST")]
    found.append(status(stack, "POST", f"/v2/{path}", guess))
    assert set(found) <= {403, 405}
    assert 403 in found


@pytest.mark.parametrize("path", TWISTED)
def test_no_other_spelling_opens_them(stack: Stack, path: str) -> None:
    assert {status(stack, method, path) // 100 for method in ("GET", "POST")} == {4}


@pytest.mark.parametrize("call", CALLS)
def test_over_grpc_they_are_closed_too(stack: Stack, call: str) -> None:
    with grpc.insecure_channel(stack.grpc) as channel:
        method = getattr(service_pb2_grpc.GRPCInferenceServiceStub(channel), call)
        for metadata in ([], [("closed", "guess")], [("triton-grpc-protocol-closed", "guess")]):
            with pytest.raises(grpc.RpcError, match="restricted"):
                method(CALLS[call], timeout=10, metadata=metadata)


JOIN = """
import sys
from ray._raylet import GcsClient
print(len(GcsClient(address=sys.argv[1]).get_all_node_info(timeout=10)), "node")
"""


def joined(address: str, **token: str) -> str:
    """What Ray says to a client of this machine."""
    environment = {name: value for name, value in os.environ.items() if "RAY_" not in name}
    done = subprocess.run(
        [sys.executable, "-c", JOIN, address],
        env={**environment, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", **token},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout + done.stderr


def inside(stack: Stack) -> dict[str, str]:
    """The environment of a process that belongs to the stack."""
    return stack.processes("python_backend_stub")[0].environ()


def test_no_other_user_can_read_what_passes_through_shared_memory(stack: Stack) -> None:
    stack.draw(STAR, steps=2)
    (server,) = stack.processes("bin/tritonserver --id=")
    name = next(word for word in server.cmdline() if word.startswith("--id=")).removeprefix("--id=")
    segments = list(Path("/dev/shm").glob(f"{name}*"))
    assert segments
    assert {oct(segment.stat().st_mode & 0o077) for segment in segments} == {"0o0"}


def test_nobody_joins_ray_without_its_token(stack: Stack) -> None:
    own = inside(stack)
    address, token = own["RAY_ADDRESS"], own["RAY_AUTH_TOKEN"]
    assert joined(address, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=token) == "1 node\n"
    for stranger in ({}, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}):
        assert "InvalidAuthToken" in joined(address, **stranger)


# gRPC with TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    file, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=triton", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"),
            *("-keyout", str(key), "-out", str(file)),
        ],
        check=True,
        capture_output=True,
    )
    return file, key


@pytest.fixture(scope="module")
def encrypted(
    stack: Stack, certificate: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Another tritonserver on the stack's Ray; where its gRPC is."""
    folder = tmp_path_factory.mktemp("triton")
    file, key = certificate
    settings = Settings(grpc_tls_certificate=file, grpc_tls_key=key)
    ports = Ports.choose(settings.with_free_ports())
    with (folder / "triton.log").open("wb") as log:
        server = TritonServer(settings, ports, folder / "draining", log)
        server.start({**inside(stack), "LD_LIBRARY_PATH": ""})
        try:
            assert wait_until(server.is_ready, 120), (folder / "triton.log").read_text()[-2000:]
            yield f"127.0.0.1:{ports.grpc}"
        finally:
            server.stop(10)


def test_a_picture_over_tls(encrypted: str, certificate: tuple[Path, Path]) -> None:
    with Client(encrypted, tls_ca=str(certificate[0])) as client:
        (picture,) = client.generate(STAR, seed=7)
    assert looks_like_the_star(picture.png)


def test_the_command_over_tls(
    encrypted: str, certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    command = [sys.executable, str(ROOT / "client.py"), STAR, "--seed", "7", "--url", encrypted]
    out = tmp_path / "star.png"
    environment = {**os.environ, "TRITON_TLS_CA": str(certificate[0])}
    subprocess.run([*command, "-o", str(out)], env=environment, check=True, timeout=60)
    assert looks_like_the_star(out.read_bytes())


@pytest.mark.parametrize("addresses", ["{0}", "{0},{0}", "dns:///{0}"])
def test_the_gateway_over_tls(
    encrypted: str,
    certificate: tuple[Path, Path],
    fake_triton: FakeTriton,
    tmp_path: Path,
    addresses: str,
) -> None:
    given = {"triton_grpc": addresses.format(encrypted), "triton_tls_ca": certificate[0]}
    with running_gateway(fake_triton, tmp_path, **given) as gateway:
        answer = gateway.http.get("/imagine", params={"prompt": STAR, "seed": 7})
    assert answer.status_code == 200, answer.text
    assert looks_like_the_star(answer.content)


@pytest.mark.parametrize(
    "channel",
    [
        grpc.insecure_channel,
        lambda address: grpc.secure_channel(address, grpc.ssl_channel_credentials()),
    ],
    ids=["plain text", "who trusts others"],
)
def test_all_others_are_refused(encrypted: str, channel: Callable[[str], Any]) -> None:
    with channel(encrypted) as opened_channel:
        live = service_pb2_grpc.GRPCInferenceServiceStub(opened_channel).ServerLive
        with pytest.raises(grpc.RpcError) as refusal:
            live(service_pb2.ServerLiveRequest(), timeout=10)
    assert refusal.value.code() == grpc.StatusCode.UNAVAILABLE

"""The outputs of each runtime are PyTorch's, for all networks, families, batches and sizes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ray_stages.families import networks
from ray_stages.families.checkpoint import Checkpoint
from ray_stages.runtimes import open_vino
from ray_stages.runtimes.catalog import RUNTIME_MODULES
from ray_stages.runtimes.exports import ExportCache
from ray_stages.runtimes.network import Network
from ray_stages.runtimes.parity import LIMITS, ParityCheck
from ray_stages.runtimes.target import Target
from ray_stages.settings import Settings, UNetSettings

NETWORKS: dict[str, Callable[[Checkpoint], Network]] = {
    **networks.NETWORKS,
    "unet_with_deep": lambda c: networks.unet(c.unet(), c.card, with_deep=True),
    "unet_shallow": lambda c: networks.unet_shallow(c.unet(), c.card),
}
CPU = torch.device("cpu")
TargetFor = Callable[[Checkpoint], Target]


@pytest.mark.parametrize("family", ["sd15", "sd21", "turbo"])
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("kind", ["torch", "onnxruntime", "openvino"])
def test_a_runtime_agrees_with_pytorch(
    kind: str, name: str, family: str, load: Callable[[str], Checkpoint], target_for: TargetFor
) -> None:
    checkpoint = load(family)
    network = NETWORKS[name](checkpoint)
    parity = ParityCheck(network)
    for precision in RUNTIME_MODULES[kind].precisions(CPU):
        if precision != "int8":
            runtime = RUNTIME_MODULES[kind].open_network(network, precision, target_for(checkpoint))
            assert parity.error(runtime) <= LIMITS[precision], precision
            assert str(runtime) == f"{kind}/{precision}"


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "unet_with_deep"])
def test_int8_is_calibrated_and_smaller(
    name: str, target_for: TargetFor, exports_dir: Path
) -> None:
    checkpoint = Checkpoint(Settings(device="cpu", unet=UNetSettings(deep_every=2)))
    network = NETWORKS[name](checkpoint)
    runtime = RUNTIME_MODULES["openvino"].open_network(network, "int8", target_for(checkpoint))
    assert 0 < ParityCheck(network).error(runtime) <= LIMITS["int8"]
    plain, quantized = sorted(
        ExportCache(exports_dir, network).folder.glob("openvino-*/network.bin")
    )
    assert quantized.stat().st_size < 0.6 * plain.stat().st_size


@pytest.mark.parametrize("kind", ["torch", "openvino"])
def test_a_prepared_shape_is_still_right(
    kind: str, load: Callable[[str], Checkpoint], target_for: TargetFor
) -> None:
    checkpoint = load("sd15")
    network = NETWORKS["unet"](checkpoint)
    parity = ParityCheck(network)
    target = target_for(checkpoint)
    runtime = RUNTIME_MODULES[kind].open_network(network, "float32", target)
    runtime.prepare(*network.example(3))
    runtime.prepare(*network.example(3))
    assert parity.error(runtime) <= LIMITS["float32"]
    if kind == "openvino":
        graphs = runtime.compute.__self__  # type: ignore[attr-defined]
        assert len(graphs.one_shape) == 1


def test_large_weights_are_not_copied_for_one_shape(
    load: Callable[[str], Checkpoint], target_for: TargetFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_vino, "SMALL_BYTES", 1000)
    checkpoint = load("sd15")
    network = NETWORKS["vae_decoder"](checkpoint)
    runtime = open_vino.open_network(network, "float32", target_for(checkpoint))
    runtime.prepare(*network.example(1))
    assert runtime.compute.__self__.one_shape == {}  # type: ignore[attr-defined]


@pytest.mark.skipif(not RUNTIME_MODULES["torch-compile"].precisions(CPU), reason="no C++ compiler")
def test_compiled_pytorch_agrees_with_pytorch(
    load: Callable[[str], Checkpoint], target_for: TargetFor
) -> None:
    checkpoint = load("sd15")
    network = NETWORKS["text_encoder"](checkpoint)
    target = target_for(checkpoint)
    runtime = RUNTIME_MODULES["torch-compile"].open_network(network, "float32", target)
    assert ParityCheck(network).error(runtime) <= LIMITS["float32"]

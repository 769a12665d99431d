"""OpenVINO, for CPUs: graphs with fused layers, in float32, bfloat16 or int8."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from ray_stages.runtimes.exports import ExportCache
from ray_stages.runtimes.network import Network, Runtime, Tensors
from ray_stages.runtimes.target import Target

NAME = "openvino"
REQUIRED_PACKAGES = ("openvino",)
FILE = "network.xml"  # the weights are in network.bin beside it
SMALL_BYTES = 100_000_000
# The first and last convolutions and the time embedding: small, and sensitive to rounding.
FLOAT_LAYERS = [".*conv_in.*", ".*conv_out.*", ".*time_emb.*", ".*time_proj.*"]


def precisions(device: torch.device) -> tuple[str, ...]:
    if device.type != "cpu":
        return ()
    capabilities = _openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    native = ("bfloat16",) if "BF16" in capabilities else ()
    return ("float32", *native, *(("int8",) if find_spec("nncf") else ()))


def open_network(network: Network, precision: str, target: Target) -> Runtime:
    options = {
        "INFERENCE_PRECISION_HINT": "f32" if precision == "float32" else "bf16",
        "INFERENCE_NUM_THREADS": target.threads,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,  # else the replicas of all stages would use the same cores
    }
    graphs = CompiledGraphs(_graph(network, precision, target), options)
    return Runtime(NAME, precision, graphs.compute, graphs.specialize)


class CompiledGraphs:
    """One graph for all shapes, and further graphs for one shape each, measured a fifth faster."""

    def __init__(self, file: Path, options: dict[str, Any]) -> None:
        self.core, self.file, self.options = _openvino().Core(), file, options
        self.any_shape = self._request(self.core.read_model(file))
        self.one_shape: dict[tuple[torch.Size, ...], Any] = {}

    def compute(self, *inputs: torch.Tensor) -> Tensors:
        request = self.one_shape.get(_shapes(inputs), self.any_shape)
        arrays = [tensor.contiguous().numpy() for tensor in inputs]
        outputs = request.infer(arrays, share_inputs=True)  # outputs are copies
        return tuple(torch.from_numpy(array) for array in outputs.values())

    def specialize(self, *inputs: torch.Tensor) -> None:
        """Compiles a graph for these shapes, if the weights are small: each graph copies them."""
        shapes = _shapes(inputs)
        if shapes in self.one_shape or self.file.with_suffix(".bin").stat().st_size > SMALL_BYTES:
            return
        model = self.core.read_model(self.file)
        model.reshape(dict(zip(model.inputs, map(list, shapes), strict=True)))
        self.one_shape[shapes] = self._request(model)

    def _request(self, model: Any) -> Any:
        return self.core.compile_model(model, "CPU", self.options).create_infer_request()


def _shapes(tensors: Sequence[torch.Tensor]) -> tuple[torch.Size, ...]:
    return tuple(tensor.shape for tensor in tensors)


def _graph(network: Network, precision: str, target: Target) -> Path:
    """Returns the file of the exported graph, quantized if the precision is int8."""
    exports = ExportCache(target.cache_dir, network)
    name = f"openvino-{version('openvino')}"
    graph = exports.get(name, lambda folder: _export(network, folder)) / FILE
    if precision != "int8":
        return graph
    inputs = partial(target.calibration, network.name)
    return exports.get(f"{name}-int8", lambda folder: _quantize(graph, inputs(), folder)) / FILE


def _quantize(graph: Path, inputs: list[Tensors], folder: Path) -> None:
    """Quantizes weights and activations after training: Jacob et al. 2018, arXiv:1712.05877."""
    ov = _openvino()
    import nncf

    nncf.set_log_level(logging.WARNING)
    data = nncf.Dataset([tuple(tensor.numpy() for tensor in tensors) for tensors in inputs])
    quantized = nncf.quantize(
        ov.Core().read_model(graph),
        data,
        subset_size=len(inputs),
        model_type=nncf.ModelType.TRANSFORMER,
        ignored_scope=nncf.IgnoredScope(patterns=FLOAT_LAYERS, validate=False),
    )
    ov.save_model(quantized, folder / FILE, compress_to_fp16=False)


def _export(network: Network, folder: Path) -> None:
    ov = _openvino()
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of shapes in Python; see `ParityCheck`
        model = ov.convert_model(network.module, example_input=network.example(2, odd=True))
    for i, one in enumerate(network.inputs):
        dims = [dim if isinstance(dim, int) else -1 for dim in one.dims]
        model.inputs[i].get_node().set_partial_shape(ov.PartialShape(dims))
    model.validate_nodes_and_infer_types()
    ov.save_model(model, folder / FILE, compress_to_fp16=False)


def _openvino() -> Any:
    """Imports OpenVINO with telemetry off; it would report each conversion to Intel."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    os.environ.setdefault("NNCF_CI", "1")
    import openvino

    return openvino

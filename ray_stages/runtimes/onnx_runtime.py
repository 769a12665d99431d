"""ONNX Runtime: a graph on CPUs, and on GPUs by CUDA or TensorRT."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ray_stages.runtimes.exports import Exports
from ray_stages.runtimes.network import Network, Runtime, Tensors, cast
from ray_stages.runtimes.place import Place

NAME = "onnxruntime"
NEEDS = ("onnxruntime", "onnx")


def precisions(device: torch.device) -> tuple[str, ...]:
    """That of the network as it was loaded; its CPU kernels know no other than float32."""
    if device.type == "cpu":
        return ("float32",)
    return ("float32", "float16") if "CUDAExecutionProvider" in _providers() else ()


def open_network(network: Network, precision: str, place: Place) -> Runtime:
    import onnxruntime as ort

    exports = Exports(place.cache_dir, network)
    export = exports.get(f"onnx-torch-{torch.__version__}", lambda folder: _export(network, folder))
    options = ort.SessionOptions()
    options.intra_op_num_threads = place.threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # cores are shared
    options.log_severity_level = 3
    providers = _cuda_providers(place, precision, exports) if place.device.type == "cuda" else []
    session = ort.InferenceSession(
        export / "network.onnx", options, [*providers, "CPUExecutionProvider"]
    )
    return Runtime(NAME, precision, _computing(session, network))


def _computing(session: Any, network: Network) -> Callable[..., Tensors]:
    """By way of the host: next to a UNet, copying latents there and back is nothing."""
    names = [one.name for one in network.inputs]
    device, dtype = network.device, network.dtype

    def compute(*inputs: torch.Tensor) -> Tensors:
        arrays = [one.contiguous().cpu().numpy() for one in cast(inputs, dtype)]
        outputs: list[Any] = session.run(None, dict(zip(names, arrays, strict=True)))
        return tuple(torch.from_numpy(np.asarray(output)).to(device) for output in outputs)

    return compute


def _export(network: Network, folder: Path) -> None:
    """By tracing, which needs no more than the package onnx."""
    names = {
        one.name: {i: dim for i, dim in enumerate(one.dims) if isinstance(dim, str)}
        for one in network.inputs
    }
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what Python does with shapes: parity is checked
        torch.onnx.export(
            network.module,
            network.example(2, odd=True),
            str(folder / "network.onnx"),
            input_names=list(names),
            output_names=list(network.outputs),
            dynamic_axes=names,
            dynamo=False,
        )


def _providers() -> list[str]:
    import onnxruntime as ort

    return list(ort.get_available_providers())


def _cuda_providers(place: Place, precision: str, exports: Exports) -> list[Any]:
    """TensorRT's own for what it can, where it is installed."""
    device = {"device_id": place.device.index or 0}
    tensorrt = {
        **device,
        "trt_engine_cache_enable": True,
        "trt_engine_cache_path": str(exports.folder),
        "trt_fp16_enable": precision == "float16",
    }
    ours = [("TensorrtExecutionProvider", tensorrt), ("CUDAExecutionProvider", device)]
    return [provider for provider in ours if provider[0] in _providers()]

"""ONNX Runtime, for CPUs, and for GPUs with CUDA or TensorRT."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ray_stages.runtimes.exports import ExportCache
from ray_stages.runtimes.network import Network, Runtime, Tensors, cast_floats
from ray_stages.runtimes.target import Target

NAME = "onnxruntime"
REQUIRED_PACKAGES = ("onnxruntime", "onnx")


def precisions(device: torch.device) -> tuple[str, ...]:
    """A graph has the dtype in which the network was loaded, and the CPU kernels need float32."""
    if device.type == "cpu":
        return ("float32",)
    return ("float32", "float16") if "CUDAExecutionProvider" in _providers() else ()


def open_network(network: Network, precision: str, target: Target) -> Runtime:
    import onnxruntime as ort

    exports = ExportCache(target.cache_dir, network)
    export = exports.get(f"onnx-torch-{torch.__version__}", lambda folder: _export(network, folder))
    options = ort.SessionOptions()
    options.intra_op_num_threads = target.threads
    options.add_session_config_entry(
        "session.intra_op.allow_spinning", "0"
    )  # stages share the cores
    options.log_severity_level = 3
    providers = _cuda_providers(target, precision, exports) if target.device.type == "cuda" else []
    session = ort.InferenceSession(
        export / "network.onnx", options, [*providers, "CPUExecutionProvider"]
    )
    return Runtime(NAME, precision, _compute_with(session, network))


def _compute_with(session: Any, network: Network) -> Callable[..., Tensors]:
    """Copies tensors through host memory, which takes no time compared with a UNet."""
    names = [one.name for one in network.inputs]
    device, dtype = network.device, network.dtype

    def compute(*inputs: torch.Tensor) -> Tensors:
        arrays = [one.contiguous().cpu().numpy() for one in cast_floats(inputs, dtype)]
        outputs: list[Any] = session.run(None, dict(zip(names, arrays, strict=True)))
        return tuple(torch.from_numpy(np.asarray(output)).to(device) for output in outputs)

    return compute


def _export(network: Network, folder: Path) -> None:
    """Exports by tracing, which needs no package beside onnx."""
    names = {
        one.name: {i: dim for i, dim in enumerate(one.dims) if isinstance(dim, str)}
        for one in network.inputs
    }
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of shapes in Python; see `ParityCheck`
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


def _cuda_providers(target: Target, precision: str, exports: ExportCache) -> list[Any]:
    """Returns CUDA, and TensorRT before it if it is installed."""
    device = {"device_id": target.device.index or 0}
    tensorrt = {
        **device,
        "trt_engine_cache_enable": True,
        "trt_engine_cache_path": str(exports.folder),
        "trt_fp16_enable": precision == "float16",
    }
    preferred = [("TensorrtExecutionProvider", tensorrt), ("CUDAExecutionProvider", device)]
    return [provider for provider in preferred if provider[0] in _providers()]

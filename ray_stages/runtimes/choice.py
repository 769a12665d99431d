"""Chooses the fastest runtime whose outputs agree with PyTorch's."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import torch

from ray_stages.runtimes.catalog import RUNTIME_MODULES
from ray_stages.runtimes.exports import ExportCache
from ray_stages.runtimes.measurement import Measurement, measure
from ray_stages.runtimes.network import Network, Runtime
from ray_stages.runtimes.target import DTYPES, Target, cpu_description

log = logging.getLogger("ray.serve")

# Inductor takes a minute to compile for a CPU, and gained nothing there.
AUTO_CANDIDATES = {"cpu": ("openvino", "onnxruntime", "torch"), "cuda": tuple(RUNTIME_MODULES)}


def open_fastest(network: Network, target: Target, runtime: str, precision: str) -> Runtime:
    """Opens a network on the runtime and in the precision that the settings name.

    runtime, precision: "auto" chooses by a measurement. It is made once for each network, machine
    and set of package versions, and its result is kept in the target's cache folder.
    Raises ValueError if the combination is not possible here, or if no candidate is accurate.
    """
    candidates = list(_candidates(network, target.device, runtime, precision))
    if not candidates:
        raise ValueError(_unavailable(network, target, runtime, precision))
    if len(candidates) == 1:
        name, only_precision = candidates[0]
        return RUNTIME_MODULES[name].open_network(network, only_precision, target)
    best = _fastest(network, target, candidates)
    return RUNTIME_MODULES[best.runtime].open_network(network, best.precision, target)


def _fastest(network: Network, target: Target, candidates: list[tuple[str, str]]) -> Measurement:
    exports = ExportCache(target.cache_dir, network)
    file = exports.folder / f"fastest-{_cache_key(target, candidates)}.json"
    with exports.lock("fastest"):
        if not file.exists():
            names = ",".join(f"{name}/{precision}" for name, precision in candidates)
            log.info("event=measure stage=%s what=%s", network.name, names)
            _write_measurements(file, measure(network, target, candidates))
    measured = [Measurement(**one) for one in json.loads(file.read_text())]
    best = min(measured, key=lambda one: one.cost)
    if best.reason:
        raise ValueError(f"no runtime is right for {network.name}: {', '.join(map(str, measured))}")
    log.info(
        "event=fastest stage=%s took=%s/%s saw=%s",
        *(network.name, best.runtime, best.precision, ",".join(map(str, measured))),
    )
    return best


def _candidates(
    network: Network, device: torch.device, runtime: str, precision: str
) -> Iterator[tuple[str, str]]:
    """Yields runtime and precision of each candidate, half precision first; see `measure`."""
    wanted = [precision]
    if precision == "auto" and device.type == "cpu":
        wanted = ["bfloat16", "float32"]
    elif precision == "auto":
        wanted = [name for name, dtype in DTYPES.items() if dtype == network.dtype]
    names = AUTO_CANDIDATES[device.type] if runtime == "auto" else (runtime,)
    modules = [RUNTIME_MODULES[name] for name in names]
    installed = [one for one in modules if all(map(find_spec, one.REQUIRED_PACKAGES))]
    for one in wanted:
        yield from ((module.NAME, one) for module in installed if one in module.precisions(device))


def _unavailable(network: Network, target: Target, runtime: str, precision: str) -> str:
    """Returns the message of a combination that is not possible, with what is."""
    asked = f"{network.name.upper()}_RUNTIME={runtime} with PRECISION={precision}"
    possible = []
    for name, module in RUNTIME_MODULES.items():
        if missing := [package for package in module.REQUIRED_PACKAGES if not find_spec(package)]:
            possible.append(f"{name} (not installed: {', '.join(missing)})")
        else:
            possible.append(f"{name} ({', '.join(module.precisions(target.device)) or 'nothing'})")
    return f"{asked} is not possible on {target.device}; here are {'; '.join(possible)}"


def _cache_key(target: Target, candidates: list[tuple[str, str]]) -> str:
    """Returns a digest of all that a measurement depends on, beside the network."""
    gpu = torch.cuda.get_device_name(target.device) if target.device.type == "cuda" else ""
    facts = [
        *(target.device.type, gpu, cpu_description(), target.threads, torch.__version__),
        *(
            f"{package}={version(package)}"
            for name, _ in candidates
            for package in RUNTIME_MODULES[name].REQUIRED_PACKAGES
        ),
        candidates,
    ]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def _write_measurements(file: Path, measured: list[Measurement]) -> None:
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps([asdict(one) for one in measured], indent=2))
    partial.replace(file)

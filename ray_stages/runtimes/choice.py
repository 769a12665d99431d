"""The fastest runtime at hand that says what PyTorch says."""

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

from ray_stages.runtimes.catalog import KINDS
from ray_stages.runtimes.exports import Exports
from ray_stages.runtimes.measurement import Seen, measure
from ray_stages.runtimes.network import Network, Runtime
from ray_stages.runtimes.place import DTYPES, Place, processor

log = logging.getLogger("ray.serve")

# Inductor takes a minute to compile for a CPU, and gained nothing there.
AUTO = {"cpu": ("openvino", "onnxruntime", "torch"), "cuda": tuple(KINDS)}


def open_fastest(network: Network, place: Place, runtime: str, precision: str) -> Runtime:
    """`runtime` and `precision` as in the settings. "auto" leaves the choice to a measurement, made
    once for a checkpoint, a machine and a set of versions, and remembered in the cache.

    ValueError names what is asked for and cannot be had here.
    """
    candidates = list(_candidates(network, place.device, runtime, precision))
    if not candidates:
        raise ValueError(_refusal(network, place, runtime, precision))
    if len(candidates) == 1:
        name, its_precision = candidates[0]
        return KINDS[name].open_network(network, its_precision, place)
    best = _fastest(network, place, candidates)
    return KINDS[best.runtime].open_network(network, best.precision, place)


def _fastest(network: Network, place: Place, candidates: list[tuple[str, str]]) -> Seen:
    exports = Exports(place.cache_dir, network)
    memory = exports.folder / f"fastest-{_circumstances(place, candidates)}.json"
    with exports.lock("fastest"):
        if not memory.exists():
            names = ",".join(f"{name}/{precision}" for name, precision in candidates)
            log.info("event=measure stage=%s what=%s", network.name, names)
            _remember(memory, measure(network, place, candidates))
    seen = [Seen(**one) for one in json.loads(memory.read_text())]
    best = min(seen, key=lambda one: one.cost)
    if best.reason:
        raise ValueError(f"no runtime is right for {network.name}: {', '.join(map(str, seen))}")
    log.info(
        "event=fastest stage=%s took=%s/%s saw=%s",
        *(network.name, best.runtime, best.precision, ",".join(map(str, seen))),
    )
    return best


def _candidates(
    network: Network, device: torch.device, runtime: str, precision: str
) -> Iterator[tuple[str, str]]:
    """Half precision first: see `measure`."""
    wanted = [precision]
    if precision == "auto" and device.type == "cpu":
        wanted = ["bfloat16", "float32"]
    elif precision == "auto":
        wanted = [name for name, dtype in DTYPES.items() if dtype == network.dtype]
    names = AUTO[device.type] if runtime == "auto" else (runtime,)
    kinds = [KINDS[name] for name in names if all(map(find_spec, KINDS[name].NEEDS))]
    for one in wanted:
        yield from ((kind.NAME, one) for kind in kinds if one in kind.precisions(device))


def _refusal(network: Network, place: Place, runtime: str, precision: str) -> str:
    asked = f"{network.name.upper()}_RUNTIME={runtime} with PRECISION={precision}"
    there = []
    for name, kind in KINDS.items():
        if missing := [package for package in kind.NEEDS if not find_spec(package)]:
            there.append(f"{name} (not installed: {', '.join(missing)})")
        else:
            there.append(f"{name} ({', '.join(kind.precisions(place.device)) or 'nothing'})")
    return f"{asked} is not possible on {place.device}; here are {'; '.join(there)}"


def _circumstances(place: Place, candidates: list[tuple[str, str]]) -> str:
    """What a measurement depends on, beside the network."""
    gpu = torch.cuda.get_device_name(place.device) if place.device.type == "cuda" else ""
    facts = [
        *(place.device.type, gpu, processor(), place.threads, torch.__version__),
        *(
            f"{package}={version(package)}"
            for name, _ in candidates
            for package in KINDS[name].NEEDS
        ),
        candidates,
    ]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def _remember(memory: Path, seen: list[Seen]) -> None:
    partial = memory.with_suffix(".partial")
    partial.write_text(json.dumps([asdict(one) for one in seen], indent=2))
    partial.replace(memory)

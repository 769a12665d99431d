"""What a result was measured with: machine, model, commit and versions."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil
import torch

from benchmarks.measurement.plan import Plan
from benchmarks.peers.peer import Peer
from ray_stages.families.checkpoint import Checkpoint
from ray_stages.settings import ROOT, Settings

PACKAGES = (
    *("torch", "openvino", "onnxruntime", "nncf", "diffusers", "transformers", "ray"),
    *("nvidia-pytriton", "tritonclient", "numpy"),
)


def run_facts(plan: Plan, settings: Settings, peers: Mapping[str, type[Peer]]) -> dict[str, Any]:
    """Returns all facts of a run, as its result file keeps them."""
    return {
        "plan": asdict(plan),
        "model": model_facts(settings),
        "peers": {key: peer.label for key, peer in peers.items()},
        **environment_facts(),
    }


def environment_facts() -> dict[str, Any]:
    """Returns date, commit, machine and versions."""
    return {
        "measured": f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC",
        "commit": commit(),
        "machine": machine_facts(),
        "versions": versions(),
    }


def machine_facts() -> dict[str, object]:
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1024**3, 1),
        "gpu": _gpu(),
        "system": f"{platform.system()} {platform.release()}",
        "load_average": psutil.getloadavg()[0],
    }


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def model_facts(settings: Settings) -> dict[str, object]:
    checkpoint = Checkpoint(settings)
    card = checkpoint.card
    return {
        "name": card.name,
        "device": str(checkpoint.device),
        "dtype": str(checkpoint.dtype).removeprefix("torch."),
        "size": f"{card.width}×{card.height}",
        "guidance_scale": card.guidance_scale,
        "threads": settings.resources("unet").threads,
    }


def commit() -> str:
    """Returns the short commit id, with a plus where tracked files have changes."""
    sha = _git("rev-parse", "--short", "HEAD")
    return f"{sha}+" if sha and _git("status", "--porcelain", "--untracked-files=no") else sha


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _gpu() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else ""

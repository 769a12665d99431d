"""Where and with what a result was measured."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import psutil

from ray_stages.settings import ROOT

PACKAGES = ("torch", "diffusers", "transformers", "ray", "nvidia-pytriton", "tritonclient", "numpy")


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
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def commit() -> str:
    """With a plus where tracked files are not as committed."""
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
    """Asked of a child, so that this process keeps no memory on it."""
    program = "import torch.cuda as c; print(c.get_device_name() if c.is_available() else '')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    return done.stdout.strip()

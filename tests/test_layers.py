"""The floors of the house: what each folder may import. Imports only go downwards."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

# From the roof down. A folder may import itself and whatever stands on a lower line of its package.
FLOORS = {
    "ray_stages": (
        "launcher",  # one machine's stack, one container's part
        "bridge",  # inside a Triton stub: request to Serve call to response
        "serving",  # Ray Serve: deployments, generations, cancellation
        "denoising stages",  # plain PyTorch and diffusers
        "families",  # what a checkpoint is made of
        "runtimes",  # what computes a network
        "requests",  # what a stage may be asked
        "settings",
        "errors cores",
    ),
    "gateway": (
        "command",
        "server",
        "connections",  # HTTP/1.1 on sockets, bounded
        "app",
        "api",  # routes and schemas
        "middleware",
        "dependencies",
        "jobs",
        "drawing",  # Triton, cache, formats
        "settings",
        "addresses errors keys metrics",
    ),
    "batch": (
        "command",
        "run",
        "plan dataflow ray_cluster",
        "operators outputs",
        "inputs",
        "configuration",
        "rows locations key_digests",
    ),
}
# Beside its own floors, what a package may import of this repository.
PACKAGES = {
    "relay_client": set(),
    "env_settings": set(),
    "ray_stages": {"relay_client", "env_settings"},
    "gateway": {"relay_client", "env_settings"},
    "batch": {"ray_stages"},
    "model_repository": {"ray_stages"},
}
OURS = {*PACKAGES, "benchmarks", "training", "tests"}
ENGINE = "import ray_stages.denoising.engine, ray_stages.denoising.denoiser"
STAGES = "import ray_stages.stages.text_encoder, ray_stages.stages.image_decoder"


def imports_of(path: Path) -> set[str]:
    """The dotted names that a file imports, wherever in the file it does so."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("package", FLOORS)
def test_imports_go_down(package: str) -> None:
    height = {
        room: -number for number, floor in enumerate(FLOORS[package]) for room in floor.split()
    }
    for path in sources(package):
        room = path.relative_to(ROOT / package).parts[0].removesuffix(".py")
        if room in ("__init__", "__main__"):
            continue
        for name in imports_of(path):
            other = name.split(".")[1] if name.startswith(f"{package}.") else room
            assert other == room or height[other] < height[room], f"{path} imports {name}"


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_stands_only_on_those_below(package: str) -> None:
    for path in sources(package):
        found = {name.split(".")[0] for name in imports_of(path)} & OURS
        assert found <= {package, *PACKAGES[package]}, path


def modules_after(statement: str) -> set[str]:
    """The top-level modules that an import brings along."""
    program = f"import sys; {statement}; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("statement", "strangers"),
    [
        (
            "from tests.support import fake_triton_utils; fake_triton_utils.install(); "
            "import ray_stages.bridge.bridge",
            {"torch", "diffusers", "transformers"},
        ),
        ("import ray_stages.serving.application", {"torch", "diffusers", "transformers"}),
        ("import ray_stages.settings", {"torch", "ray", "numpy"}),
        ("import ray_stages.launcher.command", {"torch", "ray"}),
        (f"{ENGINE}; {STAGES}", {"ray", "tritonclient"}),
        # Readers and writers run in processes of their own, which start faster without.
        (
            "import batch.inputs.reader, batch.outputs.writer",
            {"torch", "diffusers", "transformers"},
        ),
        ("import batch.command, batch.run", {"torch", "ray"}),
        ("import client", {"torch", "ray", "ray_stages"}),
        ("import gateway.server", {"torch", "diffusers", "ray", "ray_stages"}),
    ],
)
def test_what_need_not_be_loaded_is_not(statement: str, strangers: set[str]) -> None:
    assert not modules_after(statement) & strangers

"""A new checkpoint goes live under load: no request fails, and no picture is half old, half new."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster
from safetensors.torch import load_file, save_file

from tests.cluster.conftest import Join, add_node
from tests.cluster.load import Load, drawn
from tests.serving import ROOT, Stack

MINIATURE = ROOT / "models" / "miniature-sd"
PARTS = ("text_encoder", "unet", "vae")
CLIENTS = 6
DEPLOY = [sys.executable, "-m", "ray_stages", "deploy"]


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The miniature with every part a little different, so that any mixture shows."""
    folder = tmp_path_factory.mktemp("models") / "other"
    shutil.copytree(MINIATURE, folder)
    for part in PARTS:
        for file in (folder / part).glob("*.safetensors"):
            weights = {name: 1.03 * weight for name, weight in load_file(file).items()}
            save_file(weights, file, {"format": "pt"})
    return folder


def deploy(cluster: Cluster, model: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "RAY_ADDRESS": cluster.address, "MODEL": str(model)}
    return subprocess.run(
        DEPLOY, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )


def generations(stack: Stack) -> set[str]:
    """Whose denoisers run, on the nodes of the cluster."""
    import psutil

    lines = [" ".join(p.cmdline()) for p in psutil.Process().children(recursive=True)]
    return {line.split("unet-")[1][:8] for line in lines if "ServeReplica:unet-" in line}


def test_a_new_checkpoint_goes_live_under_load(cluster: Cluster, join: Join, other: Path) -> None:
    stack = join()
    add_node(cluster, 3)  # room for both generations
    old = drawn(stack)
    before = generations(stack)
    load = Load([stack], CLIENTS)
    done = deploy(cluster, other)
    load.stop()
    assert done.returncode == 0, done.stderr
    new = drawn(stack)
    counted = load.of_each(old, new)
    assert load.failures == []
    assert counted[-1] == 0
    assert counted[0] > 0
    assert counted[1] > 0
    assert generations(stack).isdisjoint(before)


def test_one_that_does_not_start_leaves_all_as_it_was(
    cluster: Cluster, join: Join, tmp_path: Path
) -> None:
    stack = join()
    add_node(cluster, 3)
    before = generations(stack)
    broken = tmp_path / "broken"
    shutil.copytree(MINIATURE, broken)
    (broken / "unet" / "config.json").write_text("{}")
    done = deploy(cluster, broken)
    assert done.returncode == 1
    assert "did not start: unet:" in done.stderr
    assert generations(stack) == before
    drawn(stack)

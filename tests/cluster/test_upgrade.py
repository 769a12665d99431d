"""A new checkpoint goes live under load: no request fails, and no picture mixes old and new."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster
from safetensors.torch import load_file, save_file

from tests.cluster.conftest import (
    SEEDS,
    JoinCluster,
    add_node,
    draw_with,
    expected_pictures,
    processes,
)
from tests.support.load import Load
from tests.support.paths import ROOT

MINIATURE = ROOT / "models" / "miniature-sd"
PARTS = ("text_encoder", "unet", "vae")
CLIENTS = 6
DEPLOY = [sys.executable, "-m", "ray_stages", "deploy"]


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The miniature with every part slightly changed, so that a mixture would differ from both."""
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


def generations() -> set[str]:
    """Returns the generations whose denoisers run."""
    titles = [" ".join(process.cmdline()) for process in processes("ServeReplica:unet-")]
    return {title.split("unet-")[1][:8] for title in titles}


def test_a_new_checkpoint_goes_live_under_load(
    cluster: Cluster, join_cluster: JoinCluster, other: Path
) -> None:
    stack = join_cluster()
    add_node(cluster, 3)  # room for both generations
    old, before = expected_pictures(stack), generations()
    with Load([draw_with(stack)] * CLIENTS, SEEDS) as load:
        done = deploy(cluster, other)
    assert done.returncode == 0, done.stderr
    new = expected_pictures(stack)
    assert load.outcomes(old=old, new=new).keys() == {"old", "new"}
    assert generations().isdisjoint(before)


def test_a_generation_that_does_not_start_changes_nothing(
    cluster: Cluster, join_cluster: JoinCluster, tmp_path: Path
) -> None:
    stack = join_cluster()
    add_node(cluster, 3)
    before = generations()
    broken = tmp_path / "broken"
    shutil.copytree(MINIATURE, broken)
    (broken / "unet" / "config.json").write_text("{}")
    done = deploy(cluster, broken)
    assert done.returncode == 1
    assert "did not start: " in done.stderr
    assert generations() == before
    expected_pictures(stack)

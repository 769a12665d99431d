"""A run on a cluster of three nodes of which something dies in the middle.

A program of its own, since Ray reads its environment once: `batch_cluster.py PIPELINE VICTIM`, the
victim one of none, actor and node. The nodes that draw are not the one that reads and writes.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any

import psutil

from batch.pipeline import Pipeline, load
from ray_stages.ray_environment import ray_environment
from ray_stages.settings import Settings
from tests.waiting import wait_until

os.environ.update(ray_environment(Settings()))

import ray
from ray.cluster_utils import Cluster
from rich.console import Console

from batch.run import run

DRAWS = "draws"
STARTED_SECONDS = 120


def start() -> tuple[Cluster, Any]:
    """The cluster, and the node that will die."""
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 4, "include_dashboard": False}
    )
    nodes = [cluster.add_node(num_cpus=2, resources={DRAWS: 1}) for _ in range(2)]
    ray.init(address=cluster.address, log_to_driver=False)
    return cluster, nodes[0]


def strike_once_written(pipeline: Pipeline, victim: str, cluster: Cluster, node: Any) -> None:
    records = Path(pipeline.output.path) / "records"
    wait_until(lambda: any(records.glob("part-*.parquet")), STARTED_SECONDS)
    if victim == "actor":
        actors = [one for one in psutil.process_iter(["cmdline"]) if is_ours(one, cluster)]
        actors[0].kill()
    elif victim == "node":
        cluster.remove_node(node, allow_graceful=False)
    print(f"killed {victim} with {len(list(records.glob('part-*')))} parts written", flush=True)


def is_ours(process: psutil.Process, cluster: Cluster) -> bool:
    """A denoising actor whose raylet is one of this cluster's."""
    if not any("MapBatches(Denoise)" in word for word in process.info["cmdline"] or ()):
        return False
    parents = {parent.pid for parent in process.parents()}
    return bool(parents & {os.getpid()})


def main() -> None:
    pipeline, victim = load(Path(sys.argv[1])), sys.argv[2]
    cluster, node = start()
    strike = threading.Thread(
        target=strike_once_written, args=(pipeline, victim, cluster, node), daemon=True
    )
    if victim != "none":
        strike.start()
    try:
        tally = run(pipeline, Console(stderr=True))
        print(f"drawn {tally.drawn} failed {tally.failures.total()}", flush=True)
    finally:
        ray.shutdown()
        cluster.shutdown()


if __name__ == "__main__":
    main()

"""A run on a cluster of three nodes, of which an actor dies half way, and then a node.

A program of its own, since Ray reads its environment once: `batch_cluster PIPELINE`. The nodes that
denoise are not the one that reads and writes.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console

from batch.configuration.pipeline import load
from ray_stages.launcher.ray_environment import ray_environment
from ray_stages.settings import Settings
from tests.support.waiting import wait_until

os.environ.update(ray_environment(Settings()))

import ray
from ray.cluster_utils import Cluster

from batch.run import run

DRAWS = "draws"
ACTOR = "MapBatches(Denoise)"
SECONDS = 200


def start() -> tuple[Any, Any]:
    """The cluster, and the node that will die."""
    head = {"num_cpus": 4, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    nodes = [cluster.add_node(num_cpus=2, resources={DRAWS: 1}) for _ in range(2)]
    ray.init(address=cluster.address, log_to_driver=False)
    return cluster, nodes[0]


def strike(records: Path, cluster: Any, node: Any) -> None:
    wait_until(lambda: len(list(records.glob("part-*"))) >= 2, SECONDS)
    actor_of_ours().kill()
    print("killed an actor", flush=True)
    wait_until(lambda: len(list(records.glob("part-*"))) >= 5, SECONDS)
    cluster.remove_node(node, allow_graceful=False)
    print("killed a node", flush=True)


def actor_of_ours() -> psutil.Process:
    """Not one of another test run on this machine: its driver's id is in nobody else's worker."""
    mine = psutil.Process().children(recursive=True)
    return next(one for one in mine if any(ACTOR in word for word in one.cmdline()))


def main() -> None:
    pipeline = load(Path(sys.argv[1]))
    cluster, node = start()
    arguments = Path(pipeline.output.path) / "records", cluster, node
    threading.Thread(target=strike, args=arguments, daemon=True).start()
    try:
        tally = run(pipeline, Console(stderr=True))
        print(f"drawn {tally.drawn} failed {tally.failures.total()}", flush=True)
    finally:
        ray.shutdown()
        cluster.shutdown()


if __name__ == "__main__":
    main()

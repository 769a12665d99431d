"""A batch run on a cluster of three nodes: an actor is killed half way, and then a node.

This is a program of its own, since Ray reads its environment once: `batch_cluster PIPELINE`. The
two nodes that denoise are not the one that reads and writes.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console

from batch.configuration.pipeline import load_pipeline
from ray_stages.launcher.ray_environment import ray_environment
from ray_stages.settings import Settings
from tests.support.waiting import wait_until

os.environ.update(ray_environment(Settings()))

import ray
from ray.cluster_utils import Cluster

from batch.run import run

DENOISE_RESOURCE = "draws"
ACTOR_NAME = "MapBatches(Denoise)"
SECONDS = 200


def start_cluster() -> tuple[Any, Any]:
    """Returns the cluster, and the node that will be killed."""
    head = {"num_cpus": 4, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    nodes = [cluster.add_node(num_cpus=2, resources={DENOISE_RESOURCE: 1}) for _ in range(2)]
    ray.init(address=cluster.address, log_to_driver=False)
    return cluster, nodes[0]


def kill_actor_and_node(records: Path, cluster: Any, node: Any) -> None:
    """Kills an actor when two parts are written, and the node when five are."""
    wait_until(lambda: len(list(records.glob("part-*"))) >= 2, SECONDS)
    own_actor().kill()
    print("killed an actor", flush=True)
    wait_until(lambda: len(list(records.glob("part-*"))) >= 5, SECONDS)
    cluster.remove_node(node, allow_graceful=False)
    print("killed a node", flush=True)


def own_actor() -> psutil.Process:
    """Finds an actor of this run: other test runs on this machine have actors of the same name."""
    children = psutil.Process().children(recursive=True)
    return next(one for one in children if any(ACTOR_NAME in word for word in one.cmdline()))


def main() -> None:
    pipeline = load_pipeline(Path(sys.argv[1]))
    cluster, node = start_cluster()
    arguments = Path(pipeline.output.path) / "records", cluster, node
    threading.Thread(target=kill_actor_and_node, args=arguments, daemon=True).start()
    try:
        summary = run(pipeline, Console(stderr=True))
        print(f"drawn {summary.drawn} failed {summary.failures.total()}", flush=True)
    finally:
        ray.shutdown()
        cluster.shutdown()


if __name__ == "__main__":
    main()

"""The child process of peers 2 and 3: a private Ray with Ray Serve and its HTTP proxy."""

from __future__ import annotations

import argparse
import os
import signal
import threading
from multiprocessing.connection import Connection

import ray
from ray import serve

from benchmarks.peers.serve_apps import application
from ray_stages.launcher.ray_process import OBJECT_STORE_BYTES
from ray_stages.settings import Settings


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "descriptor",
        type=int,
        help="file descriptor of a pipe, which gets a message when all is ready",
    )
    parser.add_argument("folder", help="for Ray's files")
    parser.add_argument("port", type=int)
    parser.add_argument("--batched", action="store_true")
    parser.add_argument("--fast", action="store_true")
    arguments = parser.parse_args()
    stopped = threading.Event()
    try:
        ray.init(
            address="local",
            include_dashboard=False,
            num_cpus=max(4, os.cpu_count() or 1),
            object_store_memory=OBJECT_STORE_BYTES,
            _temp_dir=arguments.folder,
        )
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, lambda *_: stopped.set())
        serve.start(http_options={"host": "127.0.0.1", "port": arguments.port})
        settings = Settings.from_env()
        gpus = min(1.0, ray.cluster_resources().get("GPU", 0)) if settings.device != "cpu" else 0
        kind = {"batched": arguments.batched, "fast": arguments.fast}
        serve.run(application(settings, gpus=gpus, **kind))
        Connection(arguments.descriptor).send("ready")
        stopped.wait()
    finally:
        ray.shutdown()


if __name__ == "__main__":
    main()

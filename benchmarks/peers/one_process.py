"""Peer 1, a child process: the pipeline alone. Wishes and pictures come and go through a pipe."""

from __future__ import annotations

import argparse
import time
from multiprocessing.connection import Connection

from benchmarks.peers.pipeline import Pipeline
from benchmarks.png import to_png
from ray_stages.settings import Settings


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("descriptor", type=int, help="of the pipe for wishes and pictures")
    parser.add_argument("--fast", action="store_true")
    arguments = parser.parse_args()
    connection = Connection(arguments.descriptor)
    pipeline = Pipeline(Settings.from_env(), fast=arguments.fast)
    connection.send("ready")
    while True:
        try:
            wish = connection.recv()
        except EOFError:
            return
        arrived = time.monotonic()
        ((image, times),) = pipeline.draw([wish])
        connection.send((to_png(image), times.arriving(arrived)))


if __name__ == "__main__":
    main()

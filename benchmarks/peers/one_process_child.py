"""The child process of peer 1: requests come in, and pictures go out, through a pipe."""

from __future__ import annotations

import argparse
import time
from multiprocessing.connection import Connection

from benchmarks.common.png import to_png
from benchmarks.peers.diffusers_pipeline import DiffusersPipeline
from ray_stages.settings import Settings


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("descriptor", type=int, help="file descriptor of the pipe")
    parser.add_argument("--fast", action="store_true")
    arguments = parser.parse_args()
    connection = Connection(arguments.descriptor)
    pipeline = DiffusersPipeline(Settings.from_env(), fast=arguments.fast)
    connection.send("ready")
    while True:
        try:
            request = connection.recv()
        except EOFError:
            return
        arrived = time.monotonic()
        ((image, times),) = pipeline.draw([request])
        connection.send((to_png(image), times.with_arrival(arrived)))


if __name__ == "__main__":
    main()
